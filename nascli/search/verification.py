"""Keeping the budget on the device: finalists are measured end to end, and what breaks it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nascli.errors import InfeasibleError
from nascli.search.journal import Entry
from nascli.units import format_seconds

# A median beyond this is more than noise or a plain sum's usual error.
DISAGREEMENT = 0.15


@dataclass(frozen=True)
class Measured:
    """An end-to-end latency in seconds with its 95 % interval."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True)
class Finalist:
    """A measured candidate: what the model said, what the device says, and whether it fits the budget."""

    entry: Entry
    predicted: float
    measured: Measured
    within: bool


Predict = Callable[[Entry], float]
Measure = Callable[[Sequence[Entry]], Sequence[Measured]]


def verify(
    ranked: Sequence[Entry],
    predict: Predict,
    measure: Measure,
    window: tuple[float, float],
    count: int,
    profile: str = "nascli profile",
) -> list[Finalist]:
    """Measure the best candidates until some are within the window.

    The best `count` are measured together. If none fits, the ratio of measured to predicted corrects the
    model, candidates that the corrected model puts outside are passed over, and the next `count` are
    measured; and so on through all of `ranked`.

    Args:
        ranked: candidates, best first.
        predict: the model's latency in seconds.
        measure: the device's latency of several candidates, taken side by side.
        window: seconds; the whole measured interval must lie in it.
        count: how many are measured at a time.
        profile: the command that measures the table, for advice.

    Returns:
        every measured candidate; at least one of them is within the window.

    Raises:
        InfeasibleError: no candidate keeps the window on the device.
    """
    low, high = window
    finalists: list[Finalist] = []
    waiting = list(ranked)
    while waiting:
        group, waiting = waiting[:count], waiting[count:]
        figures = measure(group)
        for entry, figure in zip(group, figures, strict=True):
            within = low <= figure.low and figure.high <= high
            finalists.append(Finalist(entry, predict(entry), figure, within))
        if any(finalist.within for finalist in finalists):
            return finalists
        above = float(np.median([f.measured.high / f.predicted for f in finalists]))
        below = float(np.median([f.measured.low / f.predicted for f in finalists]))
        waiting = [e for e in waiting if low <= predict(e) * below and predict(e) * above <= high]
    closest = min(finalists, key=lambda f: max(f.measured.high - high, low - f.measured.low))
    bounds = f"{format_seconds(high)}" if low <= 0 else f"{format_seconds(low)} to {format_seconds(high)}"
    raise InfeasibleError(
        f"none of {len(finalists)} measured candidates keeps the budget of {bounds} on the device; "
        f"the closest took {format_seconds(closest.measured.seconds)} against a predicted "
        f"{format_seconds(closest.predicted)}.",
        stale_table_warning(finalists, profile)
        or "Allow a wider budget, or search with --confidence 0.9 after nascli calibrate.",
    )


def latency_disagreement(finalists: Sequence[Finalist]) -> float:
    """By how much the device takes longer than predicted: the median over finalists, relative."""
    return float(np.median([f.measured.seconds / f.predicted for f in finalists])) - 1


def stale_table_warning(finalists: Sequence[Finalist], profile: str = "nascli profile") -> str | None:
    """What to say of a model that the device contradicts; None where they agree well enough.

    Args:
        finalists: measured.
        profile: the command that measures the table.
    """
    off = latency_disagreement(finalists)
    if abs(off) <= DISAGREEMENT:
        return None
    return (
        f"The device disagrees with the latency model by {off:+.0%} (median of {len(finalists)} networks): "
        "the table is stale, or its sum misses what happens between operators. Measure it anew with "
        f"{profile} --older-than 1s, and correct it on whole networks with nascli calibrate."
    )
