"""A device with few measurements, from tables of other devices.

The new device's latencies of n networks or operators are modelled, in logarithms and up to scale, as a mixture of
the known devices' plus a residual that is smooth in what the known devices and the architectures say:

    z(new) = sum_d w_d z(d) + r,   w_d proportional to exp(3 k corr_d),   r ~ GP(0, s (K_devices + K_architectures))

with corr_d the correlation with device d on the k samples, K_devices the linear kernel of the standardised
latencies, K_architectures that of the features. With few samples this leans on the devices that are most alike,
with more on what the samples say. Mixing keeps the order of networks wherever the known devices agree on it.
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
class Transferred:
    """Predicted latencies of a device with few measurements.

    Attributes:
        seconds: `(n,)` the figures.
        deviation: `(n,)` standard deviation of their logarithms; what was measured has the noise alone.
        weights: `(devices,)` how much of each known device is in the mixture.
    """

    seconds: Array
    deviation: Array
    weights: Array

    def interval(self, z: float = 1.645) -> tuple[Array, Array]:
        """Lower and upper ends, 90 % by default."""
        return self.seconds * np.exp(-z * self.deviation), self.seconds * np.exp(z * self.deviation)


def transfer(known: Array, features: Array, measured: npt.NDArray[np.intp], seconds: Array) -> Transferred:
    """Latencies of a new device from few samples of it.

    Args:
        known: `(n, devices)` seconds of the same networks or operators on other devices.
        features: `(n, f)` what describes them, such as codes one-hot; may have no columns.
        measured: `(k,)` which of them were measured on the new device.
        seconds: `(k,)` what they took.

    Raises:
        ConstraintError: fewer than 3 samples, no known device, or latencies that are not above 0.
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
    # The slope is drawn towards 1, in the units of the spread, by as much as two further samples.
    moved = here - here.mean()
    slope = float((moved @ y + 2 * moved.var()) / max(moved @ moved + 2 * moved.var(), 1e-12))
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
    # What the samples' own residuals say of the model's scale.
    scale = max(1.0, float(residual @ inverse @ residual) / len(y))
    return Transferred(
        seconds=np.exp(centre + spread * (base + mean)),
        deviation=spread * np.sqrt(scale * (left + _NOISE)),
        weights=weights,
    )


def _standardised(values: Array) -> Array:
    deviation = values.std(axis=0)
    kept = deviation > 1e-12
    scaled: Array = (values[:, kept] - values[:, kept].mean(axis=0)) / deviation[kept]
    return scaled if kept.any() else np.zeros((len(values), 1))


def nearest_device(known: Array, measured: npt.NDArray[np.intp], seconds: Array) -> tuple[int, Array]:
    """The known device that is most like the new one, and its latencies at the new device's scale.

    This is what can be said without `transfer`, and what it is compared with.

    Args:
        known: `(n, devices)` seconds of the same networks or operators on other devices.
        measured: `(k,)` which of them were measured on the new device.
        seconds: `(k,)` what they took.

    Returns:
        the column of the device whose logarithms correlate best with those of the samples, and its `(n,)` latencies
        times the geometric mean of the samples' ratios.
    """
    logs, target = np.log(known[measured]), np.log(seconds)
    column = int(np.argmax(_correlations(logs, target)))
    factor = float(np.exp(np.mean(target - logs[:, column])))
    return column, np.asarray(factor * known[:, column])


def _correlations(values: Array, y: Array) -> Array:
    """`(devices,)` Pearson correlation of each column with y; 0 for what does not vary."""
    moved = values - values.mean(axis=0)
    centred = y - y.mean()
    norms = np.sqrt((moved**2).sum(axis=0) * (centred**2).sum())
    return np.asarray((moved * centred[:, None]).sum(axis=0) / np.maximum(norms, 1e-12))


def _weights(z: Array, y: Array) -> Array:
    correlations = _correlations(z, y)
    powers = np.exp(_SHARPNESS * len(y) * (correlations - correlations.max()))
    return np.asarray(powers / powers.sum())
