"""Several finished runs on one page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nascli.report.html import page_of, picture
from nascli.report.svg import ChartAxis, Series, chart
from nascli.units import format_count, format_seconds


def comparison_chart(runs: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """Test accuracy against measured latency of each run's winner and baselines, with 95 % intervals."""
    winners, others, bars = [], [], []
    for name, result in runs:
        x, y = result["measured_latency_s"], result["retrained_top1"]
        winners.append((x, y, f"{name}: {format_seconds(x)}, {y:.2%}"))
        low, high = result["retrained_top1_interval"]
        bars.append(Series([(x, low, ""), (x, high, "")], "front", line=True))
        for kind, row in result["baselines"].items():
            others.append(
                (
                    row["measured_latency_s"],
                    row["top1"],
                    f"{name}, {kind}: {format_seconds(row['measured_latency_s'])}, {row['top1']:.2%}",
                )
            )
    return chart(
        "runs compared",
        ChartAxis("measured latency per batch, ms", lambda v: f"{v * 1e3:g}"),
        ChartAxis("test top-1, %", lambda v: f"{v * 100:.3g}"),
        [Series(others, "dot"), *bars, Series(winners, "best", radius=7)],
    )


def render_comparison(runs: Sequence[tuple[str, dict[str, Any]]]) -> str:
    """The page of several runs.

    Args:
        runs: name and document of result.json of each, at least two.
    """
    rows = [
        {
            "name": name,
            "algorithm": result["algorithm"],
            "space": result["space"],
            "budget": " and ".join(result["constraints"]),
            "top1": f"{result['retrained_top1']:.2%}",
            "interval": " to ".join(f"{v:.1%}" for v in result["retrained_top1_interval"]),
            "measured": format_seconds(result["measured_latency_s"]),
            "predicted": format_seconds(result["predicted_latency_s"]["value"]),
            "macs": format_count(result["macs"]),
            "params": format_count(result["params"]),
            "evaluations": str(result["evaluations"]),
            "setup": ", ".join(
                f"{k} {v}" for k, v in result["predicted_latency_s"]["setup"].items() if v != ""
            ),
            "data": result["data"],
            "seed": str(result["seed"]),
        }
        for name, result in runs
    ]
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
