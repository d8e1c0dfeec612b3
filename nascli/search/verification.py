"""Keeping the budget on the device: finalists are measured end to end, and what breaks it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nascli.errors import InfeasibleError
from nascli.lut import Measurement
from nascli.search.base import Evaluation, Score
from nascli.units import format_seconds

# A median beyond this is more than noise or a plain sum's usual error.
DISAGREEMENT = 0.15


@dataclass(frozen=True)
class Latencies:
    """What the model and the device say of one network.

    Attributes:
        predicted: The latency model's figure in seconds.
        measured: The latency end to end, with its interval.
    """

    predicted: float
    measured: Measurement


@dataclass(frozen=True)
class Finalist:
    """A candidate that may become the winner.

    Attributes:
        evaluation: What the search found.
        within: Whether it keeps the budget.
        latencies: What the model and the device say; None where nothing here can measure the space.
    """

    evaluation: Evaluation
    within: bool
    latencies: Latencies | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        evaluation, latencies = self.evaluation, self.latencies
        return {
            "entry": {
                "codes": list(evaluation.architecture),
                "score": asdict(evaluation.required_score),
                "seconds": evaluation.seconds,
                "failure": None,
            },
            "predicted": None if latencies is None else latencies.predicted,
            "measured": None if latencies is None else asdict(latencies.measured),
            "within": self.within,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Finalist:
        """Back from `to_json`."""
        entry, measured = document["entry"], document["measured"]
        latencies = None
        if measured is not None:
            # Documents of 0.1.0 have the figure and its interval alone.
            latencies = Latencies(document["predicted"], Measurement(**{"rounds": 0, **measured}))
        evaluation = Evaluation(tuple(entry["codes"]), Score(**entry["score"]), entry["seconds"])
        return cls(evaluation, document["within"], latencies)


Predict = Callable[[Evaluation], float]
Measure = Callable[[Sequence[Evaluation]], Sequence[Measurement]]


def verify(
    ranked: Sequence[Evaluation],
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
        ranked: The candidates, best first.
        predict: The model's latency in seconds.
        measure: The device's latency of several candidates, taken side by side.
        window: Seconds; the whole measured interval must lie in it.
        count: How many are measured at a time.
        profile: The command that measures the table, for advice.

    Returns:
        Every measured candidate; at least one of them is within the window.

    Raises:
        InfeasibleError: No candidate keeps the window on the device.
    """
    low, high = window
    finalists: list[Finalist] = []
    known: list[Latencies] = []
    waiting = list(ranked)
    while waiting:
        group, waiting = waiting[:count], waiting[count:]
        for evaluation, figure in zip(group, measure(group), strict=True):
            known.append(Latencies(predict(evaluation), figure))
            within = low <= figure.low and figure.high <= high
            finalists.append(Finalist(evaluation, within, known[-1]))
        if any(finalist.within for finalist in finalists):
            return finalists
        above = float(np.median([each.measured.high / each.predicted for each in known]))
        below = float(np.median([each.measured.low / each.predicted for each in known]))
        waiting = [e for e in waiting if low <= predict(e) * below and predict(e) * above <= high]
    closest = min(known, key=lambda each: max(each.measured.high - high, low - each.measured.low))
    bounds = f"{format_seconds(high)}" if low <= 0 else f"{format_seconds(low)} to {format_seconds(high)}"
    raise InfeasibleError(
        f"none of {len(known)} measured candidates keeps the budget of {bounds} on the device; "
        f"the closest took {format_seconds(closest.measured.seconds)} against a predicted "
        f"{format_seconds(closest.predicted)}.",
        stale_table_warning(known, profile)
        or "Allow a wider budget, or search with --confidence 0.9 after nascli calibrate.",
    )


def latency_disagreement(latencies: Sequence[Latencies]) -> float:
    """By how much the device takes longer than predicted: the median over networks, relative."""
    return float(np.median([each.measured.seconds / each.predicted for each in latencies])) - 1


def stale_table_warning(latencies: Sequence[Latencies], profile: str = "nascli profile") -> str | None:
    """What to say of a model that the device contradicts; None where they agree well enough.

    Args:
        latencies: Of the networks that were measured.
        profile: The command that measures the table.
    """
    off = latency_disagreement(latencies)
    if abs(off) <= DISAGREEMENT:
        return None
    return (
        f"The device disagrees with the latency model by {off:+.0%} (median of {len(latencies)} networks): "
        "the table is stale, or its sum misses what happens between operators. Measure it anew with "
        f"{profile} --older-than 1s, and correct it on whole networks with nascli calibrate."
    )
