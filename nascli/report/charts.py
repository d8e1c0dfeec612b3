"""The charts of a search's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nascli.report.svg import ChartAxis, Series, chart, pareto_front
from nascli.units import format_count, format_seconds


@dataclass(frozen=True)
class PlottedEvaluation:
    """One evaluation.

    Attributes:
        predicted: of the cost that the page is about: latency in seconds, or a counted cost.
        top1: with inherited weights.
        what: the architecture in words, for its tooltip.
    """

    predicted: float
    top1: float
    what: str


@dataclass(frozen=True)
class BoundedFigure:
    """The cost that a page is about: its name, and whether it is a time."""

    name: str
    is_time: bool

    def text(self, value: float) -> str:
        """With its unit."""
        return format_seconds(value) if self.is_time else f"{format_count(value)} {self.name}"

    @property
    def axis(self) -> ChartAxis:
        """Its axis."""
        if self.is_time:
            return ChartAxis("predicted latency per batch, ms", milliseconds)
        return ChartAxis(self.name, format_count)


def milliseconds(value: float) -> str:
    """Seconds as a tick of an axis, in milliseconds."""
    return f"{value * 1e3:g}"


def percent(value: float) -> str:
    """A share as a tick of an axis, in per cent."""
    return f"{value * 100:.3g}"


def bound_here(result: dict[str, Any]) -> tuple[BoundedFigure, float | None]:
    """What the page's horizontal axis is, and its bound: latency on the device that was measured on, if any."""
    if result["measured_latency_s"] is not None:
        highs = [
            b["high"]
            for b in result["budget"]
            if b["cost"] == "latency" and b.get("here", True) and b["high"] is not None
        ]
        return BoundedFigure("latency", True), min(highs, default=None)
    first = result["budget"][0]
    return BoundedFigure(first["cost"], False), first["high"]


def front_chart(result: dict[str, Any], evaluated: Sequence[PlottedEvaluation]) -> str:
    """Accuracy against predicted cost, with the Pareto front and the winner."""
    cost, bound = bound_here(result)

    def tip(one: PlottedEvaluation, kind: str) -> str:
        return f"{kind}{cost.text(one.predicted)}, {one.top1:.2%}: {one.what}"

    by_place = {(e.predicted, e.top1): e for e in evaluated}
    front = [by_place[place] for place in pareto_front(list(by_place))]
    if result["measured_latency_s"] is None:
        predicted = result["costs"][cost.name]
    else:
        predicted = result["predicted_latency_s"]["value"]
    winner = (
        predicted,
        result["supernet_top1"],
        f"winner: {cost.text(predicted)}, {result['supernet_top1']:.2%}",
    )
    return chart(
        f"accuracy against {cost.name}",
        cost.axis,
        ChartAxis("top-1 with inherited weights, %", percent),
        [
            Series([(e.predicted, e.top1, tip(e, "")) for e in evaluated], "dot"),
            Series([(e.predicted, e.top1, "") for e in front], "front", line=True),
            Series([(e.predicted, e.top1, tip(e, "front: ")) for e in front], "meas", radius=4.5, stop=True),
            Series([winner], "best", radius=7, stop=True),
        ],
        [] if bound is None else [(bound, f"budget {cost.text(bound)}")],
    )


def agreement_chart(result: dict[str, Any]) -> str:
    """Predicted against measured latency of everything that was measured whole."""

    def point(row: dict[str, Any], name: str) -> tuple[float, float, str]:
        x, y = row["predicted_latency_s"], row["measured_latency_s"]
        return x, y, f"{name}: predicted {format_seconds(x)}, measured {format_seconds(y)}"

    finalists = [point(row, "finalist") for row in result["finalists"]]
    baselines = [point(row, name) for name, row in result["baselines"].items()]
    predicted, measured = result["predicted_latency_s"]["value"], result["measured_latency_s"]
    winner = (
        predicted,
        measured,
        f"winner: predicted {format_seconds(predicted)}, measured {format_seconds(measured)}",
    )
    values = [v for x, y, _ in [*finalists, *baselines, winner] for v in (x, y)]
    diagonal = [(min(values), min(values), ""), (max(values), max(values), "")]
    return chart(
        "predicted against measured latency",
        ChartAxis("predicted, ms", milliseconds),
        ChartAxis("measured, ms", milliseconds),
        [
            Series(diagonal, "guide", line=True),
            Series(finalists, "meas", radius=5, stop=True),
            Series(baselines, "base", radius=5, stop=True),
            Series([winner], "best", radius=7, stop=True),
        ],
    )


def convergence_chart(evaluated: Sequence[PlottedEvaluation]) -> str:
    """Accuracy of each evaluation in order, and the best so far."""
    dots = [(i, e.top1, f"evaluation {i}: {e.top1:.2%}") for i, e in enumerate(evaluated, 1)]
    best, line = 0.0, []
    for i, e in enumerate(evaluated, 1):
        best = max(best, e.top1)
        line.append((float(i), best, ""))
    return chart(
        "convergence of the search",
        ChartAxis("evaluations", lambda v: f"{v:g}"),
        ChartAxis("top-1 with inherited weights, %", percent),
        [Series(dots, "dot"), Series(line, "line", line=True)],
    )
