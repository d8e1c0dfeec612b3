"""The Python interface: a whole study in a dozen lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nascli.costmodel import Budget, ChainCost, FeasibleSet, counted, parse_constraints, table_latency
from nascli.costmodel.models import counted_names
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable
from nascli.paths import default_store
from nascli.pipeline.measuring import Where, profile_models, space_models
from nascli.profiles.protocol import Protocol
from nascli.progress import Progress, Silent
from nascli.spaces.catalog import load_space, make_space
from nascli.spaces.space import Parameter, Space


def space(spec: str, **parameters: Parameter) -> Space:
    """A search space by name, with its parameters: ``space("proxyless", resolution=160)``."""
    return make_space(spec, **parameters) if parameters else load_space(spec)


def profile(
    space: Space,
    *,
    device: str = "cpu",
    batch: int = 16,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    store: Path | None = None,
    progress: Progress | None = None,
) -> LatencyTable:
    """The latency table of a space on a device; measures only what the store lacks."""
    where = Where(device, runtime, batch, threads, precision, store or default_store())
    return profile_models(
        space_models(space), where, protocol=Protocol(), seed=0, progress=progress or Silent()
    )


def latency(space: Space, table: LatencyTable) -> ChainCost:
    """Latency of a space's architectures in seconds per batch, as the sum of the table's operators."""
    return table_latency(space, table, "nascli.profile(space)")


def constrain(space: Space, *constraints: str, latency: ChainCost | None = None) -> FeasibleSet:
    """The exact set of architectures that satisfy constraints such as ``"latency=8ms", "macs<=330M"``.

    Raises:
        ConstraintError: a latency constraint without a latency.
        InfeasibleError: nothing satisfies them.
    """
    budgets = []
    for constraint in parse_constraints(constraints):
        if constraint.name in counted_names():
            budgets.append(Budget(constraint, counted(space, constraint.name)))
        elif latency is None:
            raise ConstraintError(f"{constraint} needs latency=..., as nascli.latency(space, table) gives it")
        else:
            budgets.append(Budget(constraint, latency))
    return FeasibleSet(space, budgets)


def search(
    constraints: str | list[str],
    *,
    space: str = "proxyless-mini",
    data: str = "digits",
    device: str = "cpu",
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search, verify and train as `nascli search` does; returns the document of result.json."""
    from nascli.pipeline.searching import run_search
    from nascli.pipeline.settings import SearchSettings, default_out

    texts = (constraints,) if isinstance(constraints, str) else tuple(constraints)
    where = Where(device, "auto", 16, 1, "fp32", default_store())
    settings = SearchSettings(space, data, texts, where, seed=seed)
    return run_search(settings, out or default_out(settings), progress or Silent())
