"""The Python interface: everything that `import nascli` offers.

Latencies are in seconds per batch, sizes in bytes, and counts are plain numbers. Functions that measure keep what they
measured in a store (an SQLite file that all projects share unless `store` names another), and never measure twice.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from nascli.costmodel import (
    BoundedCost,
    ChainCost,
    Constraint,
    FeasibleSet,
    counted,
    parse_constraint,
    table_latency,
)
from nascli.costmodel.constraints import intersect
from nascli.costmodel.space_costs import counted_names
from nascli.errors import ConstraintError, Remedy, SpaceError
from nascli.execution import DeviceChoice, Execution
from nascli.files import read_json
from nascli.lut import LatencyTable, Measurement
from nascli.paths import default_store
from nascli.pipeline.measure.breakdown import break_down
from nascli.pipeline.measure.breakdown_page import write_breakdown_page
from nascli.pipeline.measure.breakdown_result import Breakdown
from nascli.pipeline.measure.device_calibration import (
    DeviceCalibrationSummary,
    calibrate_on_references,
)
from nascli.pipeline.measure.fastest_runtime import settle_runtime
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.network_calibration import CalibrationSummary, calibrate_space
from nascli.pipeline.measure.prediction import Prediction, predict_network
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import own_batch, subjects_of
from nascli.pipeline.measure.whole_networks import measure_network
from nascli.pipeline.tables.lookup import device_key
from nascli.pipeline.train.data import DataOptions
from nascli.pipeline.train.teacher_source import TeacherSource
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress, Silent
from nascli.search.base import Evaluation
from nascli.search.run_folder import SETTINGS
from nascli.spaces.architecture import Architecture
from nascli.spaces.catalog import load_space, load_space_of_any_kind, make_space
from nascli.spaces.network import Network
from nascli.spaces.space import Parameter, Space
from nascli.spaces.staged import StagedSpace
from nascli.units import Dimension

if TYPE_CHECKING:
    from nascli.pipeline.run.result import SearchResult
    from nascli.pipeline.train.from_scratch import ArchitectureTraining
    from nascli.search.preset import Preset

# The units in which a bound is written without loss.
_UNITS: Mapping[Dimension, str] = {"time": "s", "bytes": "B", "count": ""}

_NO_BUDGET = (
    "a budget consists of constraints, such as 'latency=8ms', or is a set made by constrain, got {!r}."
)


def space(spec: str, **parameters: Parameter) -> Space:
    """Make a search space.

    Args:
        spec: A name such as "proxyless-mini", with parameters such as "proxyless-mini:resolution=32,width=0.5", or a
            file of your own: "FILE.py:NAME" or "FILE.toml". `nascli spaces` lists the names.
        **parameters: The parameters, instead of in `spec`.

    Returns:
        The space.

    Raises:
        UnknownNameError: There is no space or parameter of that name.
        SpaceError: A parameter's value breaks a rule of the space.

    Examples:
        >>> space = nascli.space("proxyless-mini", resolution=16)
        >>> space.size
        177885288
    """
    return make_space(spec, **parameters) if parameters else load_space(spec)


def profile(
    profiled: Space | Network | Architecture | str,
    *,
    device: str = "cpu",
    batch: int = 16,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    target: TargetSpec | None = None,
    store: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure every operator that the store lacks, and return the table.

    A run that was killed goes on where it was.

    Args:
        profiled: A space, or its specification; every candidate of it is measured. Or a network or an architecture,
            whose own layers are measured.
        device: "cpu", or the key of a card such as "titanxp"; `nascli devices` lists them.
        batch: Samples per run.
        threads: Threads inside one operator.
        runtime: The name of a runtime such as "ort-cpu" or "openvino", "auto" for the first that works on the device,
            or, here and in `search`, "fastest" for the one that some networks run fastest on.
        precision: "fp32", "fp16", "bf16", "tf32" or "int8", as far as the runtime has it.
        target: A complete target, instead of the five above: for CUDA graphs, rotated inputs, or a locked clock.
        store: The store's file; None for the one that all projects share.
        seed: The seed of the order in which operators are measured.
        progress: Is told how far it is; None is silent.

    Returns:
        The latency of every operator of the setup, measured now or before.

    Raises:
        DeviceError: The device is not in this machine, or failed; what was measured is kept.
        RuntimeUnavailableError: The runtime does not work here.

    Examples:
        >>> space = nascli.space("proxyless-mini")
        >>> table = nascli.profile(space, device="cpu", batch=16)  # doctest: +SKIP
    """
    if isinstance(profiled, str):
        profiled = load_space(profiled)
    elif isinstance(profiled, Architecture):
        profiled = profiled.network
    progress = progress or Silent()
    wanted = target or TargetSpec(
        device=device, batch=batch, threads=threads, runtime=runtime, precision=precision
    )
    return profile_models(
        subjects_of(profiled, wanted.batch).models,
        settle_runtime(profiled, wanted, _execution(store), seed=seed, progress=progress),
        _execution(store),
        protocol=MeasurementProtocol(),
        seed=seed,
        progress=progress,
    )


def latency(space: Space | str, table: LatencyTable) -> ChainCost:
    """The latency of a space's architectures, as the sum of a table's operators.

    `calibrate` gives one that is corrected by whole networks.

    Args:
        space: The space, or its specification.
        table: A table of the space, as `profile` gives it.

    Returns:
        A function of `(n, layers)` architectures that gives `(n,)` seconds per batch; also what `constrain` takes.

    Raises:
        MissingMeasurementsError: The table lacks operators of the space; the error names them.

    Examples:
        >>> cost = nascli.latency(space, table)  # doctest: +SKIP
        >>> cost(space.sample(2, np.random.default_rng(0)))  # doctest: +SKIP
        array([0.00541, 0.00497])
    """
    return table_latency(_as_space(space), table, "nascli.profile(space)")


@overload
def calibrate(
    space: None = None,
    *,
    device: str = ...,
    batch: int = ...,
    threads: int = ...,
    runtime: str = ...,
    precision: str = ...,
    target: TargetSpec | None = ...,
    store: str | Path | None = ...,
    seed: int = ...,
    progress: Progress | None = ...,
) -> DeviceCalibrationSummary: ...


@overload
def calibrate(
    space: Space | str,
    *,
    device: str = ...,
    batch: int = ...,
    threads: int = ...,
    runtime: str = ...,
    precision: str = ...,
    target: TargetSpec | None = ...,
    networks: int | None = ...,
    store: str | Path | None = ...,
    seed: int = ...,
    progress: Progress | None = ...,
) -> CalibrationSummary: ...


def calibrate(
    space: Space | str | None = None,
    *,
    device: str = "cpu",
    batch: int = 16,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    target: TargetSpec | None = None,
    networks: int | None = None,
    store: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> CalibrationSummary | DeviceCalibrationSummary:
    """Measure whole networks, and correct the sum of operators by them.

    Operators that the store lacks are measured first. Of a space, networks that cover it are measured. From then on
    `predict` gives calibrated figures with intervals for the space, and a search uses them. Without a space, reference
    networks of many families are measured once per setup. From then on `predict` corrects the sum of any network, and
    gives an interval that is made for networks unlike the measured ones.

    Args:
        space: The space, or its specification; None for any network on the device.
        device, batch, threads, runtime, precision, target: As in `profile`.
        networks: How many whole networks of the space are measured, by default 24; an interval needs nine. The
            reference networks of a device are a fixed list.
        store: The store's file; None for the one that all projects share.
        seed: The seed of the networks, and of the order in which they are measured.
        progress: Is told how far it is; None is silent.

    Returns:
        How well the plain and the calibrated model predict networks; of a space, the calibrated latency as `.cost`.

    Raises:
        ConstraintError: There are fewer networks than a calibration needs, or a number of networks without a space.
        DeviceError: The device is not in this machine, or failed; what was measured is kept.

    Examples:
        >>> calibration = nascli.calibrate(space, networks=24)  # doctest: +SKIP
        >>> budget = nascli.constrain(space, "latency=8ms", latency=calibration.cost)  # doctest: +SKIP
        >>> nascli.calibrate(batch=1).corrected.mean_absolute  # doctest: +SKIP
        0.031
    """
    wanted = target or TargetSpec(
        device=device, batch=batch, threads=threads, runtime=runtime, precision=precision
    )
    if space is None:
        if networks is not None:
            raise ConstraintError(
                f"the reference networks of a device are a fixed list, but {networks} are asked for.",
                "Leave the number out, or name a space.",
            )
        return calibrate_on_references(wanted, _execution(store), seed=seed, progress=progress or Silent())
    return calibrate_space(
        _as_space(space),
        wanted,
        _execution(store),
        networks=24 if networks is None else networks,
        seed=seed,
        progress=progress or Silent(),
    )


def predict(
    network: str | Path | Architecture | Network,
    *,
    device: str = "cpu",
    batch: int | None = None,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    target: TargetSpec | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    confidence: float = 0.9,
    store: str | Path | None = None,
) -> Prediction:
    """Predict the latency of a network from a table, without measuring.

    Args:
        network: An architecture's .json file, an .onnx file, or an architecture or a network.
        batch: Samples per run. None takes 16, or for an ONNX file that is fixed at one batch, that one.
        device, threads, runtime, precision, target: As in `profile`. The device need not be in this machine: a table in
            the store is enough, or for a card its data sheet.
        shapes: For an ONNX file, whole shapes by the name of an input, where it leaves sizes open.
        confidence: With which the interval holds the measured latency.
        store: The store's file; None for the one that all projects share.

    Returns:
        The latency with its interval, where the space or the device was calibrated, and the share of each block.

    Raises:
        ArchitectureError: The file cannot be read.
        StoreError: There is no such table.
        MissingMeasurementsError: The table lacks operators of the network; the error names them.

    Examples:
        >>> prediction = nascli.predict("runs/first/architecture.json")  # doctest: +SKIP
        >>> prediction.seconds, prediction.low, prediction.high  # doctest: +SKIP
        (0.00541, 0.00529, 0.00553)
    """
    source = _as_source(network)
    if batch is None:
        batch = own_batch(source, 16, shapes) if isinstance(source, Path) else 16
    return predict_network(
        source,
        target
        or TargetSpec(device=device, batch=batch, threads=threads, runtime=runtime, precision=precision),
        _execution(store),
        confidence=confidence,
        shapes=shapes,
    )


def measure(
    network: str | Path | Architecture | Network,
    *,
    device: str = "cpu",
    batch: int | None = None,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    target: TargetSpec | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    integer_range: tuple[int, int] | None = None,
    inputs: Mapping[str, npt.NDArray[Any]] | None = None,
    store: str | Path | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """Measure the latency of a network end to end.

    An ONNX file is measured as it is, whatever it is built of, if the runtime loads it.

    Args:
        network: An architecture's .json file, an .onnx file, or an architecture or a network.
        batch: Samples per run. None takes 16, or for an ONNX file that is fixed at one batch, that one.
        device, threads, runtime, precision, target: As in `profile`.
        shapes: For an ONNX file, whole shapes by the name of an input, where it leaves sizes open.
        integer_range: The lowest and the highest of random integers in an ONNX file's inputs. None takes indices that
            lie within the table which an input indexes, and else 0 and 1.
        inputs: Values by the name of an input, instead of random ones.
        store: The store's file; None for the one that all projects share.
        progress: Is told how far it is; None is silent.

    Returns:
        The latency with its 95 % interval.

    Raises:
        ArchitectureError: The file cannot be read.
        DeviceError: The device is not in this machine, or failed.
        RuntimeUnavailableError: The runtime does not work here.

    Examples:
        >>> measurement = nascli.measure("model.onnx", batch=1)  # doctest: +SKIP
        >>> measurement.seconds, measurement.low, measurement.high  # doctest: +SKIP
        (0.00212, 0.00211, 0.00213)
    """
    return measure_network(
        _as_source(network),
        target
        or TargetSpec(
            device=device, batch=batch or 16, threads=threads, runtime=runtime, precision=precision
        ),
        _execution(store),
        progress=progress or Silent(),
        feed=ModelFeed(shapes or {}, integer_range, inputs or {}),
        own_batch=batch is None and target is None,
    )


def breakdown(
    network: str | Path,
    *,
    device: str = "cpu",
    batch: int | None = None,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    target: TargetSpec | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    html: str | Path | None = None,
    store: str | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Breakdown:
    """Measure where the time of a network goes: the latency of each of its pieces, and what it attains of the device.

    The pieces' latencies add up to that of a chain of all. A run that was killed goes on where it was.

    Args:
        network: An .onnx file, or an architecture's .json file.
        batch: Samples per run. None takes 16, or for an ONNX file that is fixed at one batch, that one.
        device, threads, runtime, precision, target: As in `profile`.
        shapes: For an ONNX file, whole shapes by the name of an input, where it leaves sizes open.
        html: A page to be written, which shows all of it; None for none.
        store: The store's file; None for the one that all projects share.
        seed: The seed of the order in which models are measured.
        progress: Is told how far it is; None is silent.

    Returns:
        The network's latency and its pieces, each with latency and interval, MACs, bytes, the share of the roofline,
        and the runtime's own time.

    Raises:
        ArchitectureError: The file cannot be read.
        DeviceError: The device is not in this machine, or failed, or the runtime refuses a model.
        StoreError: The page cannot be written.

    Examples:
        >>> found = nascli.breakdown("model.onnx", html="where.html")  # doctest: +SKIP
        >>> slowest = max(found.pieces, key=lambda piece: piece.seconds)  # doctest: +SKIP
        >>> slowest.name, slowest.seconds, slowest.attained  # doctest: +SKIP
        ('attention', 0.00098, 0.73)
    """
    found = break_down(
        Path(network),
        target
        or TargetSpec(
            device=device, batch=batch or 16, threads=threads, runtime=runtime, precision=precision
        ),
        _execution(store),
        feed=ModelFeed(shapes or {}),
        own_batch=batch is None and target is None,
        seed=seed,
        progress=progress or Silent(),
    )
    if html is not None:
        write_breakdown_page([found], Path(html))
    return found


def constrain(
    space: Space | str,
    *constraints: str | Constraint,
    latency: ChainCost | Sequence[ChainCost] | None = None,
) -> FeasibleSet:
    """The exact set of architectures that satisfy constraints.

    Args:
        space: The space, or its specification.
        *constraints: What the architectures must satisfy, such as "latency=8ms", "macs<=330M" or
            "300M<=macs<=350M". "latency@titanxp<=6ms" bounds the latency on the device that it names.
        latency: The latency on one device, as `latency` or `calibrate` gives it, or on several.

    Returns:
        The set, which counts its members, and draws from them without rejection.

    Raises:
        ConstraintError: A constraint cannot be read, contradicts another, or bounds a latency that is not given; or it
            names a device although its cost is the same on all.
        InfeasibleError: No architecture satisfies them; the error names the cheapest.

    Examples:
        >>> budget = nascli.constrain("proxyless-mini", "macs<=8M")
        >>> budget.count()
        29
        >>> budget.sample(2, np.random.default_rng(0)).shape
        (2, 10)
    """
    costs = [] if latency is None else [latency] if isinstance(latency, ChainCost) else list(latency)
    made = _as_space(space)
    parsed = intersect([parse_constraint(c) if isinstance(c, str) else c for c in constraints])
    return FeasibleSet(made, [BoundedCost(c, _cost_of(c, made, costs)) for c in parsed])


def _cost_of(constraint: Constraint, space: Space, costs: Sequence[ChainCost]) -> ChainCost:
    """The cost that a constraint bounds: a count, or one of the latencies."""
    if constraint.name in counted_names():
        if constraint.device is not None:
            raise ConstraintError(f"{constraint}: {constraint.name} is the same on every device.")
        return counted(space, constraint.name)
    key = None if constraint.device is None else device_key(constraint.device)
    fitting = [cost for cost in costs if key in (None, cost.device)]
    if len(fitting) != 1:
        names = ", ".join(str(cost.device) for cost in costs) or "none"
        raise ConstraintError(
            f"{constraint} needs latency=... of one device, as nascli.latency(space, table) gives it; "
            f"given: {names}."
        )
    return fitting[0]


def optimise(
    evaluate: Callable[[tuple[int, ...]], float],
    feasible: FeasibleSet,
    *,
    evaluations: int = 100,
    algorithm: str | None = None,
    journal: str | Path | None = None,
    workers: int = 1,
    repeats: int = 1,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Search a feasible set with an evaluator of your own.

    Args:
        evaluate: Gives an architecture, a tuple of integers, a number; higher is better. `command_function` of
            `nascli.search.evaluators.function` makes one of a command line. An architecture on which it raises, returns
            NaN, or overruns is passed over and noted.
        feasible: Where to search, as `constrain` makes it.
        evaluations: How many architectures are evaluated at most.
        algorithm: The name of an algorithm that learns from scores, such as "spos" or "evolution"; None for the
            default, which needs the fewest evaluations.
        journal: A file that keeps every evaluation; with it, a killed search goes on where it was. It belongs to the
            space and to the evaluator of that name.
        workers: How many architectures are evaluated at a time.
        repeats: How often each is evaluated; the median counts.
        time_limit: Seconds for one evaluation.
        seed: The seed of the search.
        progress: Is shown the best score so far; None is silent.

    Returns:
        The evaluations that succeeded, best first.

    Raises:
        UnknownNameError: There is no such algorithm.
        NascliError: Every evaluation failed.

    Examples:
        >>> budget = nascli.constrain("proxyless-mini", "macs<=8M")
        >>> best = nascli.optimise(lambda choices: -sum(choices), budget, evaluations=20)[0]
        >>> len(best.architecture), best.succeeded
        (10, True)
    """
    from nascli.search.driver import drive
    from nascli.search.evaluators.function import FunctionEvaluator
    from nascli.search.journal import Journal
    from nascli.search.registry import default_searcher, find_searcher

    descriptor = find_searcher(algorithm or default_searcher())
    searcher = descriptor.searcher(
        feasible, descriptor.settings_for(evaluations), np.random.default_rng(seed)
    )
    guarded = FunctionEvaluator(evaluate, workers=workers, repeats=repeats, time_limit=time_limit)
    with tempfile.TemporaryDirectory() as folder:
        about = {
            "space": feasible.space.digest,
            "evaluator": getattr(evaluate, "__qualname__", type(evaluate).__name__),
        }
        log = Journal(Path(journal or Path(folder) / "journal.jsonl"), about)
        try:
            return drive(searcher, guarded, log, progress or Silent(), max_evaluations=evaluations).ranked
        finally:
            log.close()


def search(
    space: Space | StagedSpace | str,
    budget: str | Constraint | Sequence[str | Constraint] | FeasibleSet,
    *,
    data: str = "digits",
    algorithm: str | None = None,
    preset: str | Preset = "small",
    changes: Sequence[str] = (),
    device: str | None = None,
    batch: int = 16,
    threads: int = 1,
    runtime: str = "auto",
    precision: str = "fp32",
    target: TargetSpec | None = None,
    confidence: float | None = None,
    measure: bool = False,
    supernet: str | Path | None = None,
    after: str | Path | None = None,
    teacher: str | TeacherSource | None = None,
    data_options: DataOptions | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    ray: str | None = None,
    train_device: str = "auto",
    tf32: bool = True,
    compile: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> SearchResult:
    """Find the most accurate network within a budget, verify it on the device, and train it.

    Under a latency, operators that the store lacks are measured first; under counted budgets alone, nothing is
    measured. A search that was killed goes on where it was, and one that is complete is read from its folder.

    Args:
        space: The space, or its specification. An algorithm that learns spaces, such as "nss", takes a space of stages.
        budget: One or several constraints such as "latency=8ms", or a set made by `constrain`. Of a set only the
            constraints and the device of its latency count. The search derives the latency from the store again, at
            the `batch`, `threads`, `runtime`, and `precision` of this call, so pass those of the table that the set was
            made with.
        data: A data set such as "digits", "NAME:FOLDER" such as "imagenet:/data", or your own, "FILE.py:NAME".
        algorithm: The name of an algorithm such as "pcnas"; None for the default, SPOS.
        preset: All settings of the algorithm, or their name: "small" for a CPU and small images, "paper" for what
            the paper did on ImageNet.
        changes: Hyper-parameters that differ from the preset, such as "nse.threshold=-3".
        device: Where latency is measured, as in `profile`; None for the device of the budget's latency, or the CPU. A
            device other than that of the budget's latency is an error.
        batch, threads, runtime, precision, target: As in `profile`.
        confidence: With which the latency model must say that the budget is kept, which needs a calibration; None
            takes the model's figure as it is.
        measure: Whether the winner and its baselines are measured end to end although no budget is a latency.
        supernet: A checkpoint of a supernet, instead of training one.
        after: The folder of a finished search that a second space goes on from.
        teacher: What the final networks learn from beside the labels, as in `train`.
        data_options: How the data set is split and read, such as `DataOptions(validation=0.1)` from
            `nascli.pipeline.train.data`; None holds out a fifth for validation.
        out: The folder of the run; None for a folder below runs/ whose name tells runs apart.
        store: The store's file; None for the one that all projects share.
        ray: The address of a Ray cluster that evaluates architectures, or "auto"; None evaluates in this process.
        train_device: Where networks are trained and evaluated: "cpu", "cuda", "cuda:N", "mps", or "auto" for an NVIDIA
            card if there is one.
        tf32: Whether a card multiplies float32 numbers as TF32.
        compile: Whether plain networks are compiled by `torch.compile`.
        seed: The seed of everything random.
        progress: Is told how far the search is; None is silent.

    Returns:
        The result: `latency` (measured, in seconds; None where nothing was measured), `top1` (on the test part) and
        `network` (the trained module) of the winner, its baselines, and everything that result.json holds.

    Raises:
        SpaceError: The budget was made for another space.
        ConstraintError: A constraint cannot be read, the budget's latency is that of another device, the seed or the
            confidence is out of range, or the algorithm cannot search the space or does not take an option.
        InfeasibleError: No architecture keeps the budget, by the model or on the device.
        DeviceError: The device is not in this machine, or failed.
        RunError: The folder holds a run of other settings.

    Examples:
        >>> result = nascli.search("proxyless-mini", "latency=8ms", data="digits", seed=0)  # doctest: +SKIP
        >>> result.latency, result.top1  # doctest: +SKIP
        (0.00763, 0.975)
    """
    from nascli.pipeline.run.search import run_search
    from nascli.pipeline.run.settings import SearchSettings, choose_preset
    from nascli.search.registry import default_algorithm, find_algorithm

    _require_numbers(seed, confidence)
    made = load_space_of_any_kind(space) if isinstance(space, str) else space
    chosen = algorithm or default_algorithm()
    named_device = device if target is None else target.device
    budgets, measured_on = _budget_texts(made, budget, named_device)
    settings = SearchSettings(
        space=_space_text(space, made, out),
        data=data,
        budgets=budgets,
        target=target
        or TargetSpec(
            device=device or measured_on or "cpu",
            batch=batch,
            threads=threads,
            runtime=runtime,
            precision=precision,
        ),
        algorithm=chosen,
        preset=choose_preset(chosen, preset, changes=changes, budgets=budgets)[0]
        if isinstance(preset, str)
        else find_algorithm(chosen).change(preset, changes),
        seed=seed,
        confidence=confidence,
        measure=measure,
        supernet=None if supernet is None else str(supernet),
        after=None if after is None else str(after),
        teacher=TeacherSource(teacher) if isinstance(teacher, str) else teacher,
        execution=_execution(store, ray, DeviceChoice(name=train_device, tf32=tf32, compile=compile)),
        data_options=data_options or DataOptions(),
    )
    return run_search(settings, settings.default_folder if out is None else Path(out), progress or Silent())


def train(
    network: str | Path | Architecture,
    *,
    out: str | Path,
    data: str = "digits",
    recipe: str = "small",
    epochs: int | None = None,
    batch: int = 16,
    teacher: str | TeacherSource | None = None,
    data_options: DataOptions | None = None,
    train_on: str = "train",
    train_device: str = "auto",
    tf32: bool = True,
    compile: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> ArchitectureTraining:
    """Train an architecture from scratch, and evaluate it once on the test part of a data set.

    A training that was killed goes on where it was.

    Args:
        network: An architecture's .json file, or an architecture.
        out: The folder of the training: its checkpoints, the best weights by validation, and the trained network.
        data: A data set such as "digits", or "NAME:FOLDER" such as "imagenet:/data".
        recipe: The name of a recipe, such as "small" or a paper's for ImageNet, or a file that ends in .toml.
        epochs: The number of epochs; None for the recipe's own.
        batch: Samples per run of the ONNX file that is written.
        teacher: What the network learns from beside the labels: an architecture's .json file with its weights beside
            it, an .onnx file, or a `TeacherSource` with weights, resolution, and loss, such as
            `TeacherSource("timm:resnet18", "resnet18.safetensors", distillation=Distillation("hard"))` from
            `nascli.pipeline.train.teacher_source`. None for the labels alone.
        data_options: As in `search`.
        train_on: "train" for the training part, or "all" for the training and validation parts together.
        train_device, tf32, compile: As in `search`.
        seed: The seed of weights and data order.
        progress: Is told how far the training is; None is silent.

    Returns:
        Accuracy on the test part with its interval, and on the validation part after each epoch.

    Raises:
        ArchitectureError: The file cannot be read.
        DataError: The data set is missing or damaged, or does not fit the architecture, or the teacher tells other
            classes apart.
        RuntimeUnavailableError: The device is not in this machine.
        RunError: The folder belongs to other settings, or another process is using it.
        TrainingError: The loss is not finite, or memory ran out.

    Examples:
        >>> trained = nascli.train("runs/first/architecture.json", out="runs/first-trained")  # doctest: +SKIP
        >>> trained.top1, trained.low, trained.high  # doctest: +SKIP
        (0.975, 0.953, 0.987)
    """
    from nascli.pipeline.train.from_scratch import train_architecture

    _require_numbers(seed, None)
    return train_architecture(
        network if isinstance(network, Architecture) else Path(network),
        data,
        recipe,
        epochs=epochs,
        batch=batch,
        seed=seed,
        out=Path(out),
        progress=progress or Silent(),
        training=DeviceChoice(name=train_device, tf32=tf32, compile=compile),
        teacher=TeacherSource(teacher) if isinstance(teacher, str) else teacher,
        options=data_options or DataOptions(),
        train_on=train_on,
    )


def _require_numbers(seed: int, confidence: float | None) -> None:
    """Refuse numbers out of their ranges before anything is measured or trained."""
    if not isinstance(seed, int) or seed < 0:
        raise ConstraintError(f"a seed is an integer of at least 0, got {seed!r}.")
    if confidence is not None and not (isinstance(confidence, int | float) and 0 < confidence < 1):
        raise ConstraintError(f"a confidence lies between 0 and 1, got {confidence!r}.")


def _space_text(space: Space | StagedSpace | str, made: Space | StagedSpace, out: str | Path | None) -> str:
    """The space in the user's words, which the command line records too.

    A run that recorded the space's own specification instead, because it was begun with an object, keeps it.
    """
    if not isinstance(space, str):
        return made.spec
    recorded = None if out is None else read_json(Path(out) / SETTINGS)
    same = isinstance(recorded, dict) and recorded.get("space") == made.spec
    return made.spec if same else space


def _budget_texts(
    space: Space | StagedSpace,
    budget: str | Constraint | Sequence[str | Constraint] | FeasibleSet,
    named_device: str | None,
) -> tuple[tuple[str, ...], str | None]:
    """A budget in words that lose nothing, and the device that its latency is of; None where none is bounded."""
    if isinstance(budget, FeasibleSet):
        if not isinstance(space, Space) or budget.space.digest != space.digest:
            raise SpaceError(f"the budget is one of {budget.space.spec}, not of {space.spec}.")
        devices = {b.cost.device for b in budget.budgets if b.constraint.device is None} - {None}
        device = next(iter(devices), None)
        if None not in (device, named_device) and device != device_key(str(named_device)):
            raise ConstraintError(
                f"the budget bounds the latency on {device}, and the search measures on {named_device}.",
                "Leave the device out, or make the budget with a latency of that device.",
                Remedy(arguments={"device": None}),
            )
        # This machine's name in settings.json is the one that the command line gives it.
        device = "cpu" if device == device_key("cpu") else device
        return tuple(_exact_text(b.constraint) for b in budget.budgets), device
    constraints = [budget] if isinstance(budget, str | Constraint) else budget
    if not isinstance(constraints, Sequence):
        raise ConstraintError(_NO_BUDGET.format(constraints))
    for constraint in constraints:
        if not isinstance(constraint, str | Constraint):
            raise ConstraintError(_NO_BUDGET.format(constraint))
    return tuple(c if isinstance(c, str) else _exact_text(c) for c in constraints), None


def _exact_text(constraint: Constraint) -> str:
    """A constraint as text from which the same one is parsed, to the last digit."""
    unit = _UNITS[constraint.dimension]
    name = constraint.name if constraint.device is None else f"{constraint.name}@{constraint.device}"
    if constraint.low == -math.inf:
        return f"{name}<={constraint.high!r}{unit}"
    if constraint.high == math.inf:
        return f"{name}>={constraint.low!r}{unit}"
    return f"{constraint.low!r}{unit}<={name}<={constraint.high!r}{unit}"


def _as_space(space: Space | str) -> Space:
    return load_space(space) if isinstance(space, str) else space


def _as_source(network: str | Path | Architecture | Network) -> Path | Architecture | Network:
    return Path(network) if isinstance(network, str) else network


def _execution(
    store: str | Path | None, ray: str | None = None, training: DeviceChoice = DeviceChoice()
) -> Execution:
    return Execution(store=default_store() if store is None else Path(store), ray=ray, training=training)
