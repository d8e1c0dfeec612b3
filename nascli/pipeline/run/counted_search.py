"""Searches of spaces that no runtime here can measure (convolutions at few bits): counted budgets alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet
from nascli.costmodel.budgets import counted_costs
from nascli.costmodel.models import counted_names
from nascli.errors import ConstraintError
from nascli.files import write_json
from nascli.pipeline.run.algorithms import Task, find
from nascli.pipeline.run.result import base_document, budget_rows, format_estimated_count
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.train.from_scratch import train_candidate
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.search.run_folder import RESULT, RunFolder
from nascli.spaces.space import Space
from nascli.units import format_big_integer

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images


def search_counted(
    settings: SearchSettings,
    space: Space,
    images: Images,
    constraints: Sequence[Constraint],
    folder: RunFolder,
    progress: Progress,
) -> dict[str, Any]:
    """Search under counted budgets (BitOps, MACs, parameters), and train the winner and a random network.

    Raises:
        ConstraintError: a latency, which nothing here could measure, or a confidence in one.
    """
    for constraint in constraints:
        if constraint.name not in counted_names():
            raise ConstraintError(
                f"{space.name} has convolutions with bit widths, which no runtime here can measure: {constraint} "
                "cannot be kept.",
                "Bound what is counted: --constraint bitops<=6.3G",
            )
    if settings.confidence is not None:
        raise ConstraintError(
            "--confidence is about a latency model, and counted budgets are exact.", "Leave it out."
        )
    costs = counted_costs(space, [*constraints, Constraint("params", 0.0, float("inf"))])
    budgets = [BoundedCost(c, costs[c.name]) for c in constraints]
    feasible = FeasibleSet(space, budgets)
    progress.message(
        f"{format_estimated_count(feasible.count(), feasible.exact)} of {format_big_integer(space.size)} "
        f"architectures satisfy {' and '.join(str(c) for c in constraints)}"
    )
    found = find(Task(settings, images, feasible, budgets, folder, progress))
    winner = found.ranked[0]
    random = feasible.sample(1, generator(settings.seed, RandomStream.BASELINES))[0].tolist()
    rows = {
        name: {
            **train_candidate(space, codes, name, images, settings, folder, progress),
            "costs": _counts(costs, space, codes),
        }
        for name, codes in (("winner", winner.codes), ("random", random))
    }
    best = rows.pop("winner")
    document = {
        **base_document(settings, space, feasible, found.ranked, found.identity),
        "budget": budget_rows(
            constraints,
            settings.target.device,
            [{"value": best["costs"][c.name], "kind": "counted"} for c in constraints],
        ),
        "codes": list(winner.codes),
        "measured_latency_s": None,
        "macs": best["costs"]["macs"],
        "params": best["costs"]["params"],
        "supernet_top1": winner.score.value,
        "retrained_top1": best["top1"],
        "retrained_top1_interval": best["top1_interval"],
        "costs": best["costs"],
        "baselines": rows,
    }
    write_json(folder.file(RESULT), document)
    return document


def _counts(costs: dict[str, ChainCost], space: Space, codes: Sequence[int]) -> dict[str, float]:
    row = space.check(np.array([codes]))
    return {name: float(cost(row)[0]) for name, cost in costs.items()}
