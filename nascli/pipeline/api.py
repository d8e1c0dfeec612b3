"""The Python interface: a whole study in a dozen lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import Budget, ChainCost, FeasibleSet, counted, parse_constraints, table_latency
from nascli.costmodel.models import counted_names
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable
from nascli.paths import default_store
from nascli.pipeline.measuring import Where, profile_models, space_models
from nascli.profiles.protocol import Protocol
from nascli.progress import Progress, Silent
from nascli.search.journal import Entry
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


def calibrated(
    space: Space,
    *,
    device: str = "cpu",
    batch: int = 16,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    networks: int = 24,
    seed: int = 0,
    store: Path | None = None,
    progress: Progress | None = None,
) -> ChainCost:
    """Latency of a space's architectures, calibrated on whole networks; measures only what is missing."""
    from nascli.pipeline.calibrating import measured_calibration

    where = Where(device, runtime, batch, threads, precision, store or default_store())
    found, _ = measured_calibration(space, where, networks=networks, seed=seed, progress=progress or Silent())
    return found.cost


def optimise(
    evaluate: Callable[[tuple[int, ...]], float],
    feasible: FeasibleSet,
    *,
    evaluations: int = 100,
    algorithm: str = "guided",
    journal: Path | None = None,
    workers: int = 1,
    repeats: int = 1,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Entry]:
    """Search a feasible set with an evaluator of your own; the best first.

    Args:
        evaluate: codes of an architecture to a number, higher is better; `nascli.search.evaluators.command`
            makes one of a command line. What raises, returns NaN or overruns is passed over and noted.
        feasible: where to search, as `constrain` makes it.
        evaluations: how many architectures are evaluated at most.
        algorithm: guided, spos, evolution or random.
        journal: a file that keeps every evaluation; with it, a killed search goes on where it was.
        workers: architectures that are evaluated at a time.
        repeats: evaluations of each, of which the median counts.
        time_limit: seconds for one evaluation.
        seed: of the search.
        progress: is shown the best so far.

    Raises:
        UnknownNameError: another algorithm.
        NascliError: every evaluation failed.
    """
    import tempfile

    from nascli.search.driver import drive
    from nascli.search.evaluators import Guarded
    from nascli.search.guided import Guidance
    from nascli.search.journal import Journal
    from nascli.search.searchers import make_searcher
    from nascli.search.spos import Evolution

    searcher = make_searcher(
        algorithm,
        feasible,
        np.random.default_rng(seed),
        evaluations=evaluations,
        guidance=Guidance(evaluations=max(2, evaluations), first=min(8, max(2, evaluations))),
        evolution=Evolution(generations=max(1, evaluations // 50)),
    )
    guarded = Guarded(evaluate, workers=workers, repeats=repeats, time_limit=time_limit)
    with tempfile.TemporaryDirectory() as folder:
        kept = Journal(journal or Path(folder) / "journal.jsonl")
        try:
            return drive(searcher, guarded, kept, progress or Silent(), most=evaluations).ranked
        finally:
            kept.close()


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
    batch: int = 16,
    threads: int = 1,
    algorithm: str = "spos",
    preset: str = "small",
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Search, verify and train as `nascli search` does; returns the document of result.json."""
    from nascli.pipeline.searching import run_search
    from nascli.pipeline.settings import SearchSettings, default_out, effort_of

    texts = (constraints,) if isinstance(constraints, str) else tuple(constraints)
    where = Where(device, "auto", batch, threads, "fp32", default_store())
    settings = SearchSettings(space, data, texts, where, algorithm, seed, effort_of(preset, algorithm))
    return run_search(settings, out or default_out(settings), progress or Silent())
