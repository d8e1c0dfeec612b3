"""Searches of spaces that no runtime here can measure (convolutions at few bits): counted budgets alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.costmodel import Budget, Constraint, FeasibleSet, counted
from nascli.costmodel.models import counted_names
from nascli.errors import ConstraintError
from nascli.files import write_atomically
from nascli.pipeline.run_folder import RunFolder, write_json
from nascli.pipeline.settings import SearchSettings
from nascli.progress import Progress
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Space
from nascli.units import format_big_integer, format_count

if TYPE_CHECKING:
    from nascli.supernet.data import Images


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
        ConstraintError: a latency, which nothing here could measure.
    """
    from nascli.pipeline.algorithms import Task, find

    for constraint in constraints:
        if constraint.name not in counted_names():
            raise ConstraintError(
                f"{space.name} has convolutions with bit widths, which no runtime here can measure: {constraint} "
                "cannot be kept.",
                "Bound what is counted: --constraint bitops<=6.3G",
            )
    costs = {c.name: counted(space, c.name) for c in constraints} | {"macs": counted(space, "macs")}
    budgets = [Budget(c, costs[c.name]) for c in constraints]
    feasible = FeasibleSet(space, budgets)
    progress.message(
        f"{format_big_integer(feasible.count())} of {format_big_integer(space.size)} architectures satisfy "
        f"{' and '.join(str(c) for c in constraints)}"
    )
    found = find(Task(settings, images, feasible, budgets, folder, progress))
    winner = found.ranked[0]
    random = feasible.sample(1, np.random.default_rng([settings.seed, 12]))[0].tolist()
    rows = {
        name: _trained(settings, space, images, tuple(codes), name, folder, progress, costs)
        for name, codes in (("winner", winner.codes), ("random", random))
    }
    from nascli.pipeline.searching import versions

    document = {
        "format": "nascli-result",
        "version": 1,
        "algorithm": settings.algorithm,
        "space": space.spec,
        "space_size": str(space.size),
        "feasible_count": feasible.count(),
        "data": settings.data,
        "constraints": list(settings.constraints),
        "codes": list(winner.codes),
        "measured_latency_s": None,
        "supernet_top1": winner.score.value,
        "retrained_top1": rows["winner"]["top1"],
        "retrained_top1_interval": rows["winner"]["top1_interval"],
        "costs": rows["winner"]["costs"],
        "baselines": {"random": rows["random"]},
        "evaluations": len(found.ranked),
        "supernet": found.identity,
        "seed": settings.seed,
        "versions": versions(),
    }
    write_json(folder.file("result.json"), document)
    return document


def _trained(
    settings: SearchSettings,
    space: Space,
    images: Images,
    codes: tuple[int, ...],
    name: str,
    folder: RunFolder,
    progress: Progress,
    costs: dict[str, Any],
) -> dict[str, Any]:
    from safetensors.torch import save

    from nascli.pipeline.training import train_network
    from nascli.supernet.recipe import Recipe

    network = space.network(codes, name)
    trained = train_network(
        network,
        images,
        Recipe(epochs=settings.effort.retrain_epochs, batch=32, rate=0.05),
        seed=settings.seed,
        file=folder.file(f"training/network-{'-'.join(map(str, codes))}.safetensors"),
        progress=progress,
        title=f"{name} from scratch",
    )
    if name == "winner":
        import torch

        Architecture.of(space, np.array(codes), "winner").save(folder.file("architecture.json"))
        state = torch.nn.Sequential(*trained.blocks).state_dict()
        write_atomically(
            Path(folder.file("weights.safetensors")), save({k: v.contiguous() for k, v in state.items()})
        )
    row = np.array([codes])
    return {
        "codes": list(codes),
        "top1": trained.top1,
        "top1_interval": [trained.low, trained.high],
        "validation_top1": trained.validation_top1,
        "costs": {key: float(cost(row)[0]) for key, cost in costs.items()},
    }


def counted_lines(result: dict[str, Any]) -> list[list[str]]:
    """A header and one row per trained network."""
    names = list(result["costs"])
    rows = [["network", "top-1 (95 %)", *names]]
    for name, row in (("winner", {**result, "top1": result["retrained_top1"],
                                  "top1_interval": result["retrained_top1_interval"]}),
                      *result["baselines"].items()):  # fmt: skip
        low, high = row["top1_interval"]
        rows.append(
            [
                name,
                f"{row['top1']:.2%} [{low:.1%}, {high:.1%}]",
                *(format_count(row["costs"][n]) for n in names),
            ]
        )
    return rows
