"""Finalists held against the budget on the device: they are measured end to end, and what breaks it is dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nascli.errors import InfeasibleError, Remedy
from nascli.lut import Measurement
from nascli.search.base import Evaluation, Score
from nascli.units import format_seconds

# A larger relative difference, in the median over networks, is more than noise or the usual error of a plain sum.
DISAGREEMENT = 0.15


@dataclass(frozen=True)
class Latencies:
    """The latency of one network by the model and by the device.

    Attributes:
        predicted: The prediction of the latency model, in seconds.
        measured: The latency measured end to end, with its interval.
    """

    predicted: float
    measured: Measurement


@dataclass(frozen=True)
class Finalist:
    """A candidate that may become the winner.

    Attributes:
        evaluation: The evaluation by which the search ranked it.
        within: Whether it keeps the budget.
        latencies: Its latency by the model and by the device; None where nothing was measured.
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
        """Read a document that `to_json` wrote, in this version or an older one."""
        entry, measured = document["entry"], document["measured"]
        latencies = None
        if measured is not None:
            # Version 0.1.0 wrote the latency and its interval alone.
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
    subject: Mapping[str, object] | None = None,
) -> list[Finalist]:
    """Measure candidates, best first, until at least one is within the window.

    The best `count` candidates are measured together. If none fits, the median ratio of measured to predicted latency
    corrects the model, candidates that the corrected model places outside the window are skipped, and the next `count`
    are measured; and so on through all of `ranked`.

    Args:
        ranked: The candidates, best first.
        predict: Returns the latency of a candidate by the model, in seconds.
        measure: Measures several candidates side by side, and returns their latencies in the same order.
        window: The lowest and the highest latency, in seconds; the whole measured interval must lie between them.
        count: The number of candidates that are measured together.
        subject: What the remedies are about, by argument: the space, the target, and the means of execution.

    Returns:
        Every measured candidate, in the order of `ranked`; at least one of them is within the window.

    Raises:
        InfeasibleError: No candidate is within the window on the device.
    """
    low, high = window
    finalists: list[Finalist] = []
    latencies: list[Latencies] = []
    waiting = list(ranked)
    while waiting:
        group, waiting = waiting[:count], waiting[count:]
        for evaluation, measured in zip(group, measure(group), strict=True):
            latencies.append(Latencies(predict(evaluation), measured))
            within = low <= measured.low and measured.high <= high
            finalists.append(Finalist(evaluation, within, latencies[-1]))
        if any(finalist.within for finalist in finalists):
            return finalists
        above = float(np.median([each.measured.high / each.predicted for each in latencies]))
        below = float(np.median([each.measured.low / each.predicted for each in latencies]))
        waiting = [e for e in waiting if low <= predict(e) * below and predict(e) * above <= high]
    raise _no_candidate_error(latencies, window, subject or {})


def _no_candidate_error(
    latencies: Sequence[Latencies], window: tuple[float, float], subject: Mapping[str, object]
) -> InfeasibleError:
    """Return the error for a budget that no candidate keeps, with what to do where the table is stale or is not."""
    low, high = window
    closest = min(latencies, key=lambda each: max(each.measured.high - high, low - each.measured.low))
    bounds = f"{format_seconds(high)}" if low <= 0 else f"{format_seconds(low)} to {format_seconds(high)}"
    message = (
        f"none of {len(latencies)} measured candidates keeps the budget of {bounds} on the device; "
        f"the closest took {format_seconds(closest.measured.seconds)} against a predicted "
        f"{format_seconds(closest.predicted)}."
    )
    warning = stale_table_warning(latencies)
    if warning is not None:
        return InfeasibleError(message, warning, *stale_table_remedies(subject))
    return InfeasibleError(
        message,
        "Allow a wider budget, or calibrate on whole networks, and search with room for the model's error.",
        Remedy(job="calibrate", arguments=subject),
        Remedy(arguments={"confidence": 0.9}),
    )


def latency_disagreement(latencies: Sequence[Latencies]) -> float:
    """Return the relative difference between measured and predicted latency: the median over the networks.

    It is positive where the device takes longer than predicted.
    """
    return float(np.median([each.measured.seconds / each.predicted for each in latencies])) - 1


def stale_table_warning(latencies: Sequence[Latencies]) -> str | None:
    """Return a warning that the device contradicts the latency model; None where they agree within 15 %."""
    disagreement = latency_disagreement(latencies)
    if abs(disagreement) <= DISAGREEMENT:
        return None
    return (
        f"The device disagrees with the latency model by {disagreement:+.0%} (median of {len(latencies)} networks): "
        "the table is stale, or its sum misses what happens between operators. Measure it anew, and correct it on "
        "whole networks."
    )


def stale_table_remedies(subject: Mapping[str, object] | None = None) -> tuple[Remedy, Remedy]:
    """Return what would mend a table that the device contradicts; see `verify` for the subject."""
    arguments = dict(subject or {})
    return (
        Remedy(job="profile", arguments={**arguments, "age": "1s"}),
        Remedy(job="calibrate", arguments=arguments),
    )
