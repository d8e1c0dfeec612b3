"""How much slower kernels are than the roofline, learned by a small ensemble of neural networks.

Features are dimensionless or relative to the device (its compute time, its memory time, the number of waves of tiles
over its multiprocessors), so that an ensemble that was fitted to one device holds for others. The size of a convolution
kernel enters only through the length of the reduction, as in an implicit matrix product, so that sizes that the
ensemble has not seen are predicted as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from nascli.costmodel.roofline.hardware import Hardware
from nascli.costmodel.roofline.kernels import BYTES, Kernels

Array = npt.NDArray[np.float64]
_TILES = ((128, 64), (128, 128), (64, 64), (256, 128), (32, 32))
_BLOCKS = (4, 8, 16, 32, 64)
# Seconds of a kernel that does nothing.
LAUNCH = 2e-6


def roof(kernels: Kernels, devices: Sequence[Hardware]) -> Array:
    """Return the `(n,)` seconds of the roofline: the maximum of compute and memory time, plus the launch."""
    compute, memory, _ = _times(kernels, devices)
    return np.maximum(compute, memory) + LAUNCH


def _times(kernels: Kernels, devices: Sequence[Hardware]) -> tuple[Array, Array, Array]:
    peak = np.array([d.peak_of(str(p)) for d, p in zip(devices, kernels.precision, strict=True)])
    bandwidth = np.array([d.bandwidth for d in devices])
    inputs, outputs, weights = kernels.traffic
    return 2 * kernels.macs / peak, (inputs + outputs + weights) / bandwidth, bandwidth


def features(kernels: Kernels, devices: Sequence[Hardware]) -> Array:
    """Return the `(n, f)` features of kernels, each on its own device."""
    compute, memory, bandwidth = _times(kernels, devices)
    processors = np.array([d.processors for d in devices], dtype=float)
    depthwise = (kernels.groups > 1).astype(float)
    per_group = kernels.inputs / kernels.groups
    rows, reduction = kernels.batch * kernels.out_pixels, per_group * kernels.area
    columns = [
        np.log((np.maximum(compute, memory) + LAUNCH) * 1e6),
        np.log(compute * 1e6 + 1e-3),
        np.log(memory * 1e6),
        np.log(compute + 1e-9) - np.log(memory),
        np.log(kernels.batch),
        np.log(kernels.inputs),
        np.log(kernels.outputs),
        np.log(kernels.out_pixels),
        np.log(kernels.in_pixels),
        np.log(rows),
        np.log(reduction),
        *(np.log(part / bandwidth * 1e6 + 1e-6) for part in kernels.traffic),
        kernels.stride - 1,
        kernels.fused,
        depthwise,
        ((kernels.area == 9) & (kernels.stride == 1) & (depthwise == 0)).astype(float),
        (per_group <= 4).astype(float),
        (per_group <= 8).astype(float),
        *((kernels.precision == name).astype(float) for name in BYTES),
        kernels.cudnn,
    ]
    for tall, wide in _TILES:
        across, down = np.ceil(kernels.outputs / wide), np.ceil(rows / tall)
        tiles = across * down
        waves = np.ceil(tiles / processors)
        columns += [
            np.log(tiles / processors),
            np.log(waves * processors / tiles),
            np.log(across * wide / kernels.outputs),
            np.log(down * tall / rows),
        ]
    for block in _BLOCKS:
        for channels in (kernels.inputs, kernels.outputs):
            columns.append(np.log(np.ceil(channels / block) * block / channels))
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


@dataclass(frozen=True)
class Efficiency:
    """The ensemble of neural networks.

    Attributes:
        mean, deviation: `(f,)` mean and standard deviation of the features in the training data.
        centre: Mean logarithm of the ratio of measured time to roofline in the training data.
        layers: For each network of the ensemble, pairs of weight and bias, with SiLU between layers.
        quantiles: 90 % quantiles of the relative error on held-out data: of kernels on the fitted device, of whole
            networks on the fitted device, and of whole networks on other devices.
    """

    mean: Array
    deviation: Array
    centre: float
    layers: tuple[tuple[tuple[Array, Array], ...], ...]
    quantiles: tuple[float, float, float]

    def __call__(self, kernels: Kernels, devices: Sequence[Hardware]) -> Array:
        """Return the `(n,)` seconds of kernels, each on its own device."""
        if not len(kernels):
            return np.zeros(0)
        x = (features(kernels, devices) - self.mean) / self.deviation
        logs = np.mean([_forward(member, x) for member in self.layers], axis=0) + self.centre
        return np.asarray(roof(kernels, devices) * np.exp(logs))

    def save(self, path: str) -> None:
        """Write the ensemble as plain arrays to an .npz file."""
        arrays: dict[str, Array] = {
            "mean": self.mean,
            "deviation": self.deviation,
            "centre": np.array(self.centre),
            "quantiles": np.array(self.quantiles),
        }
        for number, member in enumerate(self.layers):
            for depth, (weight, bias) in enumerate(member):
                arrays[f"m{number}_{depth}_weight"] = weight
                arrays[f"m{number}_{depth}_bias"] = bias
        np.savez_compressed(path, allow_pickle=False, **{k: v.astype(np.float32) for k, v in arrays.items()})


def _forward(member: Sequence[tuple[Array, Array]], x: Array) -> Array:
    for depth, (weight, bias) in enumerate(member):
        x = x @ weight.T + bias
        if depth < len(member) - 1:
            x = x / (1 + np.exp(-np.clip(x, -60, 60)))
    return x[:, 0]


@lru_cache(maxsize=1)
def load_efficiency() -> Efficiency:
    """Return the ensemble that comes with the package, which `benchmarks.roofline` fits and evaluates."""
    with (resources.files(__package__) / "efficiency.npz").open("rb") as file:
        arrays = {k: v.astype(float) for k, v in np.load(file, allow_pickle=False).items()}
    members: dict[int, list[tuple[Array, Array]]] = {}
    for name in sorted(key for key in arrays if key.endswith("_weight")):
        number = int(name.split("_")[0][1:])
        members.setdefault(number, []).append((arrays[name], arrays[name.replace("weight", "bias")]))
    low, known, other = (float(q) for q in arrays["quantiles"])
    return Efficiency(
        mean=arrays["mean"],
        deviation=arrays["deviation"],
        centre=float(arrays["centre"]),
        layers=tuple(tuple(member) for _, member in sorted(members.items())),
        quantiles=(low, known, other),
    )
