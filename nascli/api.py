"""The Python interface: a whole study in a dozen lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nascli.costmodel import BoundedCost, ChainCost, FeasibleSet, counted, parse_constraints, table_latency
from nascli.costmodel.models import counted_names
from nascli.errors import ConstraintError
from nascli.execution import Execution
from nascli.lut import LatencyTable
from nascli.paths import default_store
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.run.result import SearchResult
from nascli.pipeline.tables.lookup import device_key
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress, Silent
from nascli.search.base import Evaluation
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
    spec = TargetSpec(device=device, runtime=runtime, precision=precision, batch=batch, threads=threads)
    execution = Execution(store=store or default_store())
    return profile_models(
        space_subjects(space),
        spec,
        execution,
        protocol=MeasurementProtocol(),
        seed=0,
        progress=progress or Silent(),
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
    from nascli.pipeline.measure.network_calibration import calibrate_space

    spec = TargetSpec(device=device, runtime=runtime, precision=precision, batch=batch, threads=threads)
    execution = Execution(store=store or default_store())
    return calibrate_space(
        space, spec, execution, networks=networks, seed=seed, progress=progress or Silent()
    ).cost


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
) -> list[Evaluation]:
    """Search a feasible set with an evaluator of your own; the best first.

    Args:
        evaluate: an architecture to a number, higher is better; `command_function` of
            `nascli.search.evaluators.function` makes one of a command line. What raises, returns NaN or overruns is
            passed over and noted.
        feasible: where to search, as `constrain` makes it.
        evaluations: how many architectures are evaluated at most.
        algorithm: guided, spos, evolution or random.
        journal: a file that keeps every evaluation; with it, a killed search goes on where it was. It belongs to
            the space and to the evaluator of that name.
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
    from nascli.search.evaluators.function import FunctionEvaluator
    from nascli.search.journal import Journal
    from nascli.search.registry import find_searcher

    descriptor = find_searcher(algorithm)
    searcher = descriptor.searcher(
        feasible, descriptor.settings_for(evaluations), np.random.default_rng(seed)
    )
    guarded = FunctionEvaluator(evaluate, workers=workers, repeats=repeats, time_limit=time_limit)
    with tempfile.TemporaryDirectory() as folder:
        about = {
            "space": feasible.space.digest,
            "evaluator": getattr(evaluate, "__qualname__", type(evaluate).__name__),
        }
        kept = Journal(journal or Path(folder) / "journal.jsonl", about)
        try:
            return drive(searcher, guarded, kept, progress or Silent(), max_evaluations=evaluations).ranked
        finally:
            kept.close()


def constrain(
    space: Space, *constraints: str, latency: ChainCost | Sequence[ChainCost] | None = None
) -> FeasibleSet:
    """The exact set of architectures that satisfy constraints such as ``"latency=8ms", "macs<=330M"``.

    Args:
        space: whose architectures.
        constraints: what they must satisfy.
        latency: the latency here, as `latency` gives it, or of several devices; ``latency@titanxp<=6ms`` is held
            against that of the device that it names.

    Raises:
        ConstraintError: a latency constraint without a latency of its device, or a device on a cost that is the
            same on all.
        InfeasibleError: nothing satisfies them.
    """
    given = [] if latency is None else [latency] if isinstance(latency, ChainCost) else list(latency)
    budgets = []
    for constraint in parse_constraints(constraints):
        if constraint.name in counted_names():
            if constraint.device is not None:
                raise ConstraintError(f"{constraint}: {constraint.name} is the same on every device.")
            budgets.append(BoundedCost(constraint, counted(space, constraint.name)))
            continue
        key = None if constraint.device is None else device_key(constraint.device)
        fitting = [cost for cost in given if key in (None, cost.device)]
        if len(fitting) != 1:
            there = ", ".join(str(cost.device) for cost in given) or "none"
            raise ConstraintError(
                f"{constraint} needs latency=... of one device, as nascli.latency(space, table) gives it; "
                f"given: {there}."
            )
        budgets.append(BoundedCost(constraint, fitting[0]))
    return FeasibleSet(space, budgets)


def search(
    constraints: str | list[str],
    *,
    space: str = "proxyless-mini",
    data: str = "digits",
    device: str = "cpu",
    batch: int = 16,
    threads: int = 1,
    algorithm: str | None = None,
    preset: str = "small",
    seed: int = 0,
    out: Path | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Search, verify and train as `nascli search` does."""
    from nascli.pipeline.run.search import run_search
    from nascli.pipeline.run.settings import SearchSettings, choose_preset
    from nascli.search.registry import default_algorithm

    texts = (constraints,) if isinstance(constraints, str) else tuple(constraints)
    name = algorithm or default_algorithm()
    chosen, _ = choose_preset(name, preset)
    settings = SearchSettings(
        space=space,
        data=data,
        budgets=texts,
        target=TargetSpec(device=device, batch=batch, threads=threads),
        algorithm=name,
        preset=chosen,
        seed=seed,
    )
    return run_search(settings, out or settings.default_folder, progress or Silent())
