"""The charts of a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nascli.report.run_summary import LatencyFigures, RunSummary
from nascli.report.svg import ChartAxis, Point, Series, chart, pareto_front
from nascli.units import format_count, format_seconds


@dataclass(frozen=True)
class PlottedEvaluation:
    """One evaluation as a point.

    Attributes:
        predicted: The cost that the page is about: a latency by the model in seconds, or a counted cost.
        top1: The validation top-1 with inherited weights, from 0 to 1.
        description: The architecture in words, for the tooltip.
    """

    predicted: float
    top1: float
    description: str


@dataclass(frozen=True)
class BoundedFigure:
    """The cost that a chart is about.

    Attributes:
        name: The name of the cost.
        is_time: Whether it is a time.
        bound: Its upper bound in SI units; None where there is none.
    """

    name: str
    is_time: bool
    bound: float | None = None

    def text(self, value: float) -> str:
        """A value with its unit."""
        return format_seconds(value) if self.is_time else f"{format_count(value)} {self.name}"

    @property
    def axis(self) -> ChartAxis:
        """The axis of this cost."""
        if self.is_time:
            return ChartAxis("predicted latency per batch, ms", milliseconds)
        return ChartAxis(self.name, format_count)


def milliseconds(value: float) -> str:
    """Format seconds as a tick in milliseconds."""
    return f"{value * 1e3:g}"


def percent(value: float) -> str:
    """Format a share as a tick in per cent."""
    return f"{value * 100:.3g}"


def bounded_figure(run: RunSummary) -> BoundedFigure:
    """Return the cost on the horizontal axis: the latency if a model predicts it, else that of the first constraint."""
    if run.latency is not None:
        bounds = [
            budget.high
            for budget in run.budgets
            if budget.is_time and budget.is_here and budget.high is not None
        ]
        return BoundedFigure("latency", True, min(bounds, default=None))
    first = run.budgets[0]
    return BoundedFigure(first.cost, False, first.high)


def front_chart(run: RunSummary, evaluated: Sequence[PlottedEvaluation]) -> str:
    """Draw accuracy against predicted cost, with the Pareto front and the winner."""
    cost = bounded_figure(run)

    def point(evaluation: PlottedEvaluation, kind: str) -> Point:
        tip = f"{kind}{cost.text(evaluation.predicted)}, {evaluation.top1:.2%}: {evaluation.description}"
        return evaluation.predicted, evaluation.top1, tip

    by_position = {(evaluation.predicted, evaluation.top1): evaluation for evaluation in evaluated}
    front = [by_position[position] for position in pareto_front(list(by_position))]
    predicted = run.winner.costs[cost.name] if run.latency is None else run.latency.predicted
    winner = (
        predicted,
        run.supernet_top1,
        f"winner: {cost.text(predicted)}, {run.supernet_top1:.2%}",
    )
    return chart(
        f"accuracy against {cost.name}",
        cost.axis,
        ChartAxis("top-1 with inherited weights, %", percent),
        [
            Series([point(evaluation, "") for evaluation in evaluated], "dot"),
            Series([(evaluation.predicted, evaluation.top1, "") for evaluation in front], "front", line=True),
            Series([point(evaluation, "front: ") for evaluation in front], "meas", radius=4.5, stop=True),
            Series([winner], "best", radius=7, stop=True),
        ],
        [] if cost.bound is None else [(cost.bound, f"budget {cost.text(cost.bound)}")],
    )


def agreement_chart(run: RunSummary, latency: LatencyFigures) -> str:
    """Draw predicted against measured latency of every network that was measured end to end.

    Args:
        run: The run, for its baselines.
        latency: Its latency, for the finalists and the winner.
    """

    def point(name: str, predicted: float, measured: float) -> Point:
        tip = f"{name}: predicted {format_seconds(predicted)}, measured {format_seconds(measured)}"
        return predicted, measured, tip

    finalists = [point("finalist", each.predicted, each.measured) for each in latency.finalists]
    baselines = [
        point(name, network.predicted, network.measured)
        for name, network in run.baselines.items()
        if network.predicted is not None and network.measured is not None
    ]
    winner = point("winner", latency.predicted, latency.measured)
    values = [value for x, y, _ in [*finalists, *baselines, winner] for value in (x, y)]
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
    """Draw the accuracy of each evaluation in order, and the best so far."""
    points: list[Point] = []
    best_points: list[Point] = []
    best = 0.0
    for number, evaluation in enumerate(evaluated, 1):
        points.append((number, evaluation.top1, f"evaluation {number}: {evaluation.top1:.2%}"))
        best = max(best, evaluation.top1)
        best_points.append((float(number), best, ""))
    return chart(
        "convergence of the search",
        ChartAxis("evaluations", lambda value: f"{value:g}"),
        ChartAxis("top-1 with inherited weights, %", percent),
        [Series(points, "dot"), Series(best_points, "line", line=True)],
    )
