"""A page that compares several finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nascli.report.charts import milliseconds, percent
from nascli.report.html import page_of, picture
from nascli.report.provenance import setup_text
from nascli.report.run_summary import MeasuredLatency, RunSummary
from nascli.report.svg import ChartAxis, Series, chart
from nascli.units import format_count, format_seconds


@dataclass(frozen=True)
class ComparedRun:
    """A run under a name; its winner was measured.

    Attributes:
        name: The name on the page.
        run: The run.
        latency: Its latency.
    """

    name: str
    run: RunSummary
    latency: MeasuredLatency


def comparison_chart(runs: Sequence[ComparedRun]) -> str:
    """Draw test accuracy against measured latency of each run's winner and baselines, with 95 % intervals."""
    winners, baselines, intervals = [], [], []
    for each in runs:
        x, winner = each.latency.measured, each.run.winner
        winners.append((x, winner.top1, f"{each.name}: {format_seconds(x)}, {winner.top1:.2%}"))
        low, high = winner.top1_interval
        intervals.append(Series([(x, low, ""), (x, high, "")], "front", line=True))
        for kind, network in each.run.baselines.items():
            if network.measured is not None:
                tip = f"{each.name}, {kind}: {format_seconds(network.measured)}, {network.top1:.2%}"
                baselines.append((network.measured, network.top1, tip))
    return chart(
        "runs compared",
        ChartAxis("measured latency per batch, ms", milliseconds),
        ChartAxis("test top-1, %", percent),
        [Series(baselines, "dot"), *intervals, Series(winners, "best", radius=7)],
    )


def render_comparison(runs: Sequence[ComparedRun]) -> str:
    """Return the page of several runs.

    Args:
        runs: The runs, at least one.

    Returns:
        HTML that loads nothing from elsewhere; all text from outside is escaped.
    """
    rows = [_row(each) for each in runs]
    differing = [
        what
        for what, key in (("device and setup", "setup"), ("data", "data"))
        if len({row[key] for row in rows}) > 1
    ]
    return page_of(
        "comparison",
        headline=f"{len(rows)} runs compared",
        warning="" if not differing else f"The runs differ in {' and '.join(differing)}: compare with care.",
        picture=picture(comparison_chart(runs)),
        rows=rows,
    )


def _row(each: ComparedRun) -> dict[str, str]:
    run, latency, predicted = each.run, each.latency, each.run.winner.predicted
    return {
        "name": each.name,
        "algorithm": run.algorithm,
        "space": run.space,
        "budget": run.budget_text,
        "top1": f"{run.winner.top1:.2%}",
        "interval": " to ".join(f"{end:.1%}" for end in run.winner.top1_interval),
        "measured": format_seconds(latency.measured),
        "predicted": "-" if predicted is None else format_seconds(predicted),
        "macs": format_count(run.winner.macs),
        "params": format_count(run.winner.params),
        "evaluations": str(run.evaluations),
        "setup": setup_text(latency),
        "data": run.data,
        "seed": str(run.seed),
    }
