"""Quality of a transfer: how well it predicts measured samples that it was not given."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nascli.costmodel.transfer import MIN_SAMPLES, TransferPrediction, nearest_device, transfer

Array = npt.NDArray[np.float64]
# Two more than `transfer` needs, because each pair is left out once.
MIN_SAMPLES_TO_LEAVE_OUT = MIN_SAMPLES + 2
# Maximum number of samples or pairs that are left out; of more, these are drawn at random.
_MAX_LEFT_OUT = 300
Left = TypeVar("Left")


@dataclass(frozen=True)
class TransferQuality:
    """How predictions for the measured networks fit, each made without the networks that it is for.

    Attributes:
        pairs_in_order: The share of pairs of networks whose order is predicted, without either of the two. It estimates
            the order of networks that were never measured.
        rank_correlation: Spearman's, between the measurements and predictions that left out one network each. Since
            every prediction was fitted to other networks, it is lower than that of networks never measured. None
            where all predictions or all measurements are equal.
        mean_absolute: Mean absolute relative error of these predictions.
        within_interval: The share of the networks that lay inside their intervals; None for a method without intervals.
    """

    pairs_in_order: float
    rank_correlation: float | None
    mean_absolute: float
    within_interval: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a document."""
        return asdict(self)


def left_out_quality(
    known: Array, features: Array, measured: npt.NDArray[np.intp], seconds: Array, z: float
) -> tuple[TransferQuality, TransferQuality]:
    """Evaluate the transfer, and the nearest device as its baseline, by leaving out samples and pairs of samples.

    Args:
        known: `(n, devices)` seconds of architectures on known devices.
        features: `(n, f)` features of the architectures.
        measured: `(k,)` indices of those that were measured on the new device; at least `MIN_SAMPLES_TO_LEAVE_OUT`.
        seconds: `(k,)` their latencies on the new device in seconds.
        z: Half the width of an interval in standard deviations.

    Returns:
        The quality of the transfer, and that of the nearest device.
    """

    def both(left: Sequence[int]) -> tuple[TransferPrediction, Array]:
        others = np.delete(measured, left), np.delete(seconds, left)
        return transfer(known, features, *others), nearest_device(known, *others)[1]

    rng = np.random.default_rng(0)
    chosen = _subset(list(range(len(measured))), rng)
    ours, alone, inside = np.empty(len(chosen)), np.empty(len(chosen)), 0
    for number, left in enumerate(chosen):
        result, near = both([left])
        low, high = result.interval(z)
        i = measured[left]
        ours[number], alone[number] = result.seconds[i], near[i]
        inside += bool(low[i] <= seconds[left] <= high[i])
    pairs = _subset(list(itertools.combinations(range(len(measured)), 2)), rng)
    ordered = np.zeros(2)
    for pair in pairs:
        result, near = both(pair)
        for method, predicted in enumerate((result.seconds, near)):
            first, second = (
                np.sign(np.diff(predicted[measured[list(pair)]])),
                np.sign(np.diff(seconds[list(pair)])),
            )
            ordered[method] += bool(first[0] == second[0])
    truth = seconds[chosen]
    return (
        _quality(ours, truth, ordered[0] / len(pairs), inside / len(chosen)),
        _quality(alone, truth, ordered[1] / len(pairs), None),
    )


def _subset(values: list[Left], rng: np.random.Generator) -> list[Left]:
    """Return all values, or a random subset of the maximum number that is left out."""
    if len(values) <= _MAX_LEFT_OUT:
        return values
    return [values[i] for i in sorted(rng.choice(len(values), _MAX_LEFT_OUT, replace=False))]


def _quality(predicted: Array, seconds: Array, pairs: float, inside: float | None) -> TransferQuality:
    error = float(np.mean(np.abs(predicted / seconds - 1)))
    return TransferQuality(float(pairs), rank_correlation(predicted, seconds), error, inside)


def rank_correlation(a: Array, b: Array) -> float | None:
    """Return Spearman's rank correlation, or None if one of the two does not vary."""
    from scipy.stats import spearmanr

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)
