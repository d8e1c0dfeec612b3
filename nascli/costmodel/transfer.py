"""Latency on a device with few measurements, from tables of other devices.

The logarithms of the latencies of n networks or operators on the new device are modelled, up to scale, as a mixture of
those on the known devices plus a residual that is smooth in the known latencies and in features of the architectures:

    z(new) = sum_d w_d z(d) + r,   w_d proportional to exp(3 k corr_d),   r ~ GP(0, s (K_devices + K_architectures))

where corr_d is the correlation with device d on the k samples, K_devices the linear kernel of the standardised
latencies, and K_architectures that of the features. With few samples, predictions follow the devices that are most
alike; with more samples, they follow the samples. A mixture keeps the order of networks on which the known devices
agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.errors import ConstraintError

Array = npt.NDArray[np.float64]
_SHARPNESS, _RESIDUAL, _NOISE = 3.0, 0.02, 0.03
MIN_SAMPLES = 3


@dataclass(frozen=True)
class TransferPrediction:
    """Predicted latencies on a device with few measurements.

    Attributes:
        seconds: `(n,)` latencies in seconds.
        deviation: `(n,)` standard deviation of the logarithms of the latencies.
        weights: `(devices,)` weights of the known devices in the mixture, which add up to 1.
    """

    seconds: Array
    deviation: Array
    weights: Array

    def interval(self, z: float = 1.645) -> tuple[Array, Array]:
        """Return the lower and upper ends of intervals of `z` standard deviations; 90 % by default."""
        return self.seconds * np.exp(-z * self.deviation), self.seconds * np.exp(z * self.deviation)


def transfer(
    known: Array, features: Array, measured: npt.NDArray[np.intp], seconds: Array
) -> TransferPrediction:
    """Predict latencies on a new device from few samples.

    Args:
        known: `(n, devices)` seconds of the same networks or operators on known devices.
        features: `(n, f)` features of the networks or operators, such as one-hot choices; `f` may be 0.
        measured: `(k,)` indices of those that were measured on the new device.
        seconds: `(k,)` their latencies on the new device in seconds.

    Raises:
        ConstraintError: There are fewer than 3 samples, there is no known device, or a latency is not above 0.
    """
    if known.ndim != 2 or known.shape[1] < 1 or len(measured) < MIN_SAMPLES or len(measured) != len(seconds):
        raise ConstraintError(
            f"transfer needs at least one known device and {MIN_SAMPLES} measured samples, got "
            f"{known.shape[-1] if known.ndim == 2 else 0} and {len(measured)} with {len(seconds)} figures."
        )
    if not (np.all(np.isfinite(known) & (known > 0)) and np.all(np.isfinite(seconds) & (seconds > 0))):
        raise ConstraintError("transfer needs latencies that are finite and above 0.")
    logs = np.log(known)
    z = _standardised(logs)
    target = np.log(seconds)
    centre, spread = float(target.mean()), max(float(target.std()), 1e-6)
    y = (target - centre) / spread
    weights = _weights(z[measured], y)
    mixture = z @ weights
    here = mixture[measured]
    # The slope is shrunk towards 1, with the weight of two further samples.
    centred = here - here.mean()
    slope = float((centred @ y + 2 * centred.var()) / max(centred @ centred + 2 * centred.var(), 1e-12))
    slope = slope if slope > 0 else 1.0
    base = slope * (mixture - here.mean())
    residual = y - base[measured]
    parts = [z, _standardised(features)] if features.size else [z]
    parts = [part / np.sqrt(part.shape[1]) for part in parts]
    across = _RESIDUAL * np.sum([part @ part[measured].T for part in parts], axis=0)
    inside = across[measured] + _NOISE * np.eye(len(y))
    inverse = np.linalg.inv(inside)
    mean = across @ inverse @ residual
    prior = _RESIDUAL * np.sum([(part**2).sum(axis=1) for part in parts], axis=0)
    left = np.maximum(prior - np.einsum("nk,kj,nj->n", across, inverse, across), 0.0)
    # The residuals of the samples tell the scale of the model, which is not reduced.
    scale = max(1.0, float(residual @ inverse @ residual) / len(y))
    return TransferPrediction(
        seconds=np.exp(centre + spread * (base + mean)),
        deviation=spread * np.sqrt(scale * (left + _NOISE)),
        weights=weights,
    )


def _standardised(values: Array) -> Array:
    deviation = values.std(axis=0)
    varying = deviation > 1e-12
    scaled: Array = (values[:, varying] - values[:, varying].mean(axis=0)) / deviation[varying]
    return scaled if varying.any() else np.zeros((len(values), 1))


def nearest_device(known: Array, measured: npt.NDArray[np.intp], seconds: Array) -> tuple[int, Array]:
    """Return the known device that is most like the new one, with its latencies at the scale of the new device.

    This is the baseline that `transfer` is compared with.

    Args:
        known: `(n, devices)` seconds of the same networks or operators on known devices.
        measured: `(k,)` indices of those that were measured on the new device.
        seconds: `(k,)` their latencies on the new device in seconds.

    Returns:
        The column of the device whose logarithms correlate best with those of the samples, and its `(n,)` latencies
        times the geometric mean of the samples' ratios.
    """
    logs, target = np.log(known[measured]), np.log(seconds)
    column = int(np.argmax(_correlations(logs, target)))
    factor = float(np.exp(np.mean(target - logs[:, column])))
    return column, np.asarray(factor * known[:, column])


def _correlations(values: Array, y: Array) -> Array:
    """Return the `(devices,)` Pearson correlation of each column with y; 0 for a column without variation."""
    columns = values - values.mean(axis=0)
    centred = y - y.mean()
    norms = np.sqrt((columns**2).sum(axis=0) * (centred**2).sum())
    return np.asarray((columns * centred[:, None]).sum(axis=0) / np.maximum(norms, 1e-12))


def _weights(z: Array, y: Array) -> Array:
    correlations = _correlations(z, y)
    powers = np.exp(_SHARPNESS * len(y) * (correlations - correlations.max()))
    return np.asarray(powers / powers.sum())
