"""Several searches that share one supernet: a sweep over budgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nascli.pipeline.run.result import format_estimated_count
from nascli.pipeline.run.search import run_search
from nascli.pipeline.run.settings import SearchSettings, default_folder
from nascli.progress import Progress
from nascli.units import format_count, format_seconds


def run_sweep(
    budgets: Sequence[str], settings: Sequence[SearchSettings], out: Path | None, progress: Progress
) -> list[dict[str, Any]]:
    """One search per budget; they differ in nothing else, so all but the first find their supernet trained.

    Returns:
        per budget what was found and where its run is.
    """
    rows = []
    for budget, one in zip(budgets, settings, strict=True):
        name = re.sub(r"[^A-Za-z0-9.]+", "-", budget).strip("-.")
        folder = default_folder(one) if out is None else out / name
        progress.message(f"budget {budget}")
        result = run_search(one, folder, progress)
        low, high = result["retrained_top1_interval"]
        # Counted budgets of few bits are searched without measuring.
        measured = result["measured_latency_s"]
        rows.append(
            {
                "budget": budget,
                "run": str(folder),
                "top1": result["retrained_top1"],
                "measured_latency_s": measured,
                "macs": result["macs"],
                "params": result["params"],
                "shown": {
                    "budget": budget,
                    "top-1 (95 %)": f"{result['retrained_top1']:.2%} [{low:.1%}, {high:.1%}]",
                    "measured": "-" if measured is None else format_seconds(measured),
                    "MACs": format_count(result["macs"]),
                    "params": format_count(result["params"]),
                    "feasible": format_estimated_count(
                        int(result["feasible_count"]), result["feasible_count_exact"]
                    ),
                    "run": str(folder),
                },
            }
        )
    return rows
