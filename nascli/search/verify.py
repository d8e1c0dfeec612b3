"""Keeping the budget on the device: finalists are measured end to end, and what breaks it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nascli.errors import InfeasibleError
from nascli.search.journal import Entry
from nascli.units import format_seconds


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
    ranked: Sequence[Entry], predict: Predict, measure: Measure, budget: float, count: int
) -> list[Finalist]:
    """Measure the best candidates until some are within the budget.

    The best `count` are measured together. If none fits, the ratio of measured to predicted corrects the
    model, candidates that the corrected model puts above the budget are passed over, and the next `count`
    are measured; and so on through all of `ranked`.

    Args:
        ranked: candidates, best first.
        predict: the model's latency in seconds.
        measure: the device's latency of several candidates, taken side by side.
        budget: seconds; the upper end of the measured interval must not exceed it.
        count: how many are measured at a time.

    Returns:
        every measured candidate; at least one of them is within the budget.

    Raises:
        InfeasibleError: no candidate keeps the budget on the device.
    """
    finalists: list[Finalist] = []
    waiting = list(ranked)
    while waiting:
        group, waiting = waiting[:count], waiting[count:]
        figures = measure(group)
        for entry, figure in zip(group, figures, strict=True):
            finalists.append(Finalist(entry, predict(entry), figure, figure.high <= budget))
        if any(finalist.within for finalist in finalists):
            return finalists
        correction = float(np.median([f.measured.high / f.predicted for f in finalists]))
        waiting = [entry for entry in waiting if predict(entry) * correction <= budget]
    fastest = min(finalists, key=lambda f: f.measured.high)
    raise InfeasibleError(
        f"all {len(finalists)} measured candidates exceed the budget of {format_seconds(budget)} on the "
        f"device; the fastest took {format_seconds(fastest.measured.seconds)} against a predicted "
        f"{format_seconds(fastest.predicted)}.",
        "The table may be stale (another load, driver or clock): profile again, or allow a larger budget.",
    )
