"""Why the winner of a finished run leaves a part of its budget, from the run's evaluations and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost, Constraint, counted
from nascli.errors import Remedy
from nascli.files import read_json, reading
from nascli.pipeline.run.old_settings import read_settings
from nascli.pipeline.run.result import SearchResult, read_result
from nascli.pipeline.run.searched_space import searched_space
from nascli.report.unused_budget import BudgetUse, Reason, UnusedBudget, unused_budget, unused_budget_text
from nascli.search.base import Evaluation
from nascli.search.journal import Journal
from nascli.search.registry import algorithm_names, find_algorithm
from nascli.search.run_folder import COSTS, EVALUATIONS
from nascli.spaces.space import Space


@dataclass(frozen=True)
class Explanation:
    """Why the winner leaves a part of its budget, and what would make the search look further.

    Attributes:
        text: The reason in words.
        remedies: What widens the search, where it did not look; empty else.
    """

    text: str
    remedies: tuple[Remedy, ...] = ()

    @property
    def whole_text(self) -> str:
        """The reason with what widens the search, in words."""
        return " ".join([self.text, *(remedy.words for remedy in self.remedies)])


def explain_unused_budget(run: Path) -> Explanation | None:
    """Return why the winner of a finished run uses less than 95 % of its budget; None where it uses more.

    Raises:
        RunError: The folder is not a finished run, or a file in it is damaged.
    """
    result = read_result(run)
    journal = Journal(run / EVALUATIONS)
    try:
        evaluations = [evaluation for evaluation in journal if evaluation.succeeded]
    finally:
        journal.close()
    with reading(run):
        return explain(run, result, searched_space(result), evaluations)


def explain(
    run: Path, result: SearchResult, space: Space, evaluations: Sequence[Evaluation]
) -> Explanation | None:
    """Return the explanation from what was read of a run already.

    Args:
        run: The folder of the run.
        result: Its result.
        space: The space that was searched.
        evaluations: Its evaluations that gave a score.
    """
    unused = _unused(result, space, evaluations, read_json(run / COSTS) or {})
    if unused is None:
        return None
    remedies: tuple[Remedy, ...] = ()
    name = result.document["algorithm"]
    if unused.reason is Reason.NOT_SEARCHED and name in algorithm_names():
        remedies = find_algorithm(name).wider_search(read_settings(run).get("preset", {}))
    return Explanation(unused_budget_text(unused), remedies)


def _unused(
    result: SearchResult, space: Space, evaluations: Sequence[Evaluation], costs: Mapping[str, Any]
) -> UnusedBudget | None:
    """Return what is known of the unused budget; None where there is none, or no upper bound."""
    budgets = [row for row in result.budget if row.constraint.high != math.inf]
    if not budgets:
        return None
    margin = costs.get("half_width", 0.0)
    population = space.check(np.array([evaluation.architecture for evaluation in evaluations]))
    shares, largest, used, predicted = [], [], [], []
    for row in budgets:
        cost, bound = _cost(space, row.constraint, costs), row.constraint.high
        used.append(row.value.value / bound)
        value = row.value.value
        if row.constraint.is_local_latency:
            bound /= 1 + margin
            value = value if result.winner.predicted_latency is None else result.winner.predicted_latency
        predicted.append(value / bound)
        shares.append(cost(population) / bound)
        largest.append(cost.maximum / bound)
    return unused_budget(
        BudgetUse(max(used), max(predicted), result.document["supernet_top1"]),
        np.max(shares, axis=0).tolist(),
        [evaluation.value for evaluation in evaluations],
        largest=max(largest),
        margin=margin / (1 + margin),
    )


def _cost(space: Space, constraint: Constraint, costs: Mapping[str, Any]) -> ChainCost:
    """Return the cost that a constraint bounds, as the run knew it."""
    if constraint.name != "latency":
        return counted(space, constraint.name)
    if constraint.device is None:
        return ChainCost.from_json(costs["latency"])
    return ChainCost.from_json(costs["elsewhere"][constraint.device])
