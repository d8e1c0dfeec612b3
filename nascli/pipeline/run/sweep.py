"""Several searches that share one supernet: a sweep over budgets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nascli.pipeline.run.result import SearchResult
from nascli.pipeline.run.search import run_search
from nascli.pipeline.run.settings import SearchSettings
from nascli.progress import Progress


@dataclass(frozen=True)
class SweepRow:
    """What a search of a sweep found.

    Attributes:
        budget: The constraint that this search has and the others have not, in the user's words.
        result: What was found.
    """

    budget: str
    result: SearchResult

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        winner = self.result.winner
        return {
            "budget": self.budget,
            "run": str(self.result.folder),
            "top1": winner.top1,
            # Under counted budgets nothing is measured unless it is asked for.
            "measured_latency_s": self.result.latency,
            "macs": winner.costs["macs"],
            "params": winner.costs["params"],
        }


def run_sweep(
    budgets: Sequence[str], settings: Sequence[SearchSettings], out: Path | None, progress: Progress
) -> list[SweepRow]:
    """Search once for each budget.

    The searches differ in nothing else, so all but the first find their supernet trained.

    Args:
        budgets: The constraint of each search, in the user's words.
        settings: Of each search.
        out: The folder of the runs; None for the default folder of each.
        progress: Is shown how far the searches are.

    Returns:
        What each search found, in the order of the budgets.
    """
    rows = []
    for budget, one in zip(budgets, settings, strict=True):
        name = re.sub(r"[^A-Za-z0-9.]+", "-", budget).strip("-.")
        folder = one.default_folder if out is None else out / name
        progress.message(f"budget {budget}")
        rows.append(SweepRow(budget, run_search(one, folder, progress)))
    return rows
