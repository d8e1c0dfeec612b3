"""Where the time of a network goes: each of its pieces with its latency inside of the network, and what it attains."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from nascli.errors import DeviceError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Measurement, Store, program_key
from nascli.pipeline.measure.breakdown_result import Breakdown, BreakdownPiece
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.peaks import Peaks, from_data_sheet, measured_peaks, peak_operators
from nascli.pipeline.measure.piece_times import PieceModels, find_known
from nascli.pipeline.measure.runtime_opinion import RuntimeOpinion, ask_runtime
from nascli.pipeline.measure.subjects import read_network
from nascli.pipeline.measure.whole_models import given_model, load_to_measure
from nascli.profiles.onnx.networks import network_of
from nascli.profiles.onnx.whole_models import whole_program
from nascli.profiles.profiling import NO_REMEASURING, RemeasurePolicy, make_plan, profile_operators
from nascli.profiles.protocol import GivenModel, MeasurementProtocol
from nascli.profiles.target import Target, TargetSpec
from nascli.progress import Progress
from nascli.spaces.counts import count
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.piece_names import piece_name
from nascli.spaces.programs import Program
from nascli.units import format_seconds

# Pairs and whole networks take longer than single operators.
_MODEL_SECONDS = 0.7
# Bytes of a value over those in fp32.
_WIDTHS = {"fp32": 1.0, "tf32": 1.0, "fp16": 0.5, "bf16": 0.5, "int8": 0.25}


def break_down(
    path: Path,
    spec: TargetSpec,
    execution: Execution,
    *,
    feed: ModelFeed = ModelFeed(),
    own_batch: bool = False,
    protocol: MeasurementProtocol | None = None,
    seed: int = 0,
    progress: Progress,
) -> Breakdown:
    """Measure where the time of a network goes.

    Killed and run again, it goes on where it was.

    Args:
        path: An .onnx model, or an architecture's .json file.
        spec: On which device and how.
        execution: Where measurements are kept.
        feed: Shapes and values of the inputs of an .onnx model.
        own_batch: Whether a model that is fixed at one batch is measured at it, whatever `spec` says.
        protocol: How closely a model is measured; None for the usual one.
        seed: The seed of the order in which models are measured.
        progress: Is told how long it will take, and how far it is.

    Raises:
        ArchitectureError: The file cannot be read, or has no form in the precision.
        DeviceError: The device is not here or failed, or the runtime refuses a model; what was measured is kept.
    """
    target = feed.on(spec.resolve(execution))
    target.setup()
    network, given, batch = _load(path, spec, feed, target, own_batch=own_batch)
    return break_down_network(
        network,
        replace(target, batch=batch),
        execution,
        given=given,
        protocol=protocol or MeasurementProtocol(),
        seed=seed,
        progress=progress,
    )


def _load(
    path: Path, spec: TargetSpec, feed: ModelFeed, target: Target, *, own_batch: bool
) -> tuple[Network, tuple[Program, GivenModel] | None, int]:
    """Return a network, the file as it is timed and its program, and the batch; a .json file is timed as its chain."""
    if path.suffix != ".onnx":
        return read_network(path)[0], None, spec.batch
    model = load_to_measure(path, spec, feed, own_batch=own_batch)
    given = whole_program(model), given_model(model, feed, target)
    return network_of(model), given, model.batch


def break_down_network(
    network: Network,
    target: Target,
    execution: Execution,
    *,
    given: tuple[Program, GivenModel] | None,
    protocol: MeasurementProtocol,
    seed: int,
    progress: Progress,
) -> Breakdown:
    """Measure where the time of a network goes.

    Args:
        network: The network, one block for each piece.
        target: The device, the runtime, its options, and the batch.
        execution: Where measurements are kept.
        given: The model that the network was read from, and the program that identifies it; None has the chain of all
            pieces timed instead.
        protocol: How closely a model is measured.
        seed: The seed of the order in which models are measured.
        progress: Is told how long it will take, and how far it is.

    Raises:
        DeviceError: The device failed, or the runtime refuses a model; what was measured is kept.
    """
    models = PieceModels(network.name, network.operators, target.batch)
    file = network.program if given is None else given[0]
    sheet = from_data_sheet(target.device, target.options.precision)
    peak_models = [] if sheet is not None else peak_operators(target.batch)
    wanted = [Operator(f"network {network.name}", (), file), *models.operators(), *peak_models]
    with Store(execution.store) as store:
        table = _measure(
            wanted, models, store, target,
            anew=[file, *(o.program for o in peak_models)],
            given={} if given is None else {program_key(file): given[1]},
            protocol=protocol, seed=seed, progress=progress,
        )  # fmt: skip
        measured_at = max(s.taken_at for s in store.samples(table.setup)[program_key(file)])
    measurement = find_known(table.lookup, file)
    together = measurement if models.whole is None else find_known(table.lookup, models.whole)
    opinion, no_opinion = _opinion(models, target)
    figures = [table.lookup(operator.program) for operator in wanted]
    peaks = measured_peaks(table) if sheet is None else sheet
    return Breakdown(
        name=network.name,
        setup=table.setup,
        measurement=measurement,
        together=together,
        pieces=_pieces(network, models, table, (measurement, together), peaks, opinion),
        peaks=peaks,
        opinion=opinion,
        no_opinion=no_opinion,
        unsettled=sum(figure is not None and not protocol.settled(figure) for figure in figures),
        measured_at=measured_at,
    )


def _measure(
    wanted: list[Operator],
    models: PieceModels,
    store: Store,
    target: Target,
    *,
    anew: list[Program],
    given: Mapping[str, GivenModel],
    protocol: MeasurementProtocol,
    seed: int,
    progress: Progress,
) -> LatencyTable:
    """Measure what the store lacks, and say before how long that takes.

    What the pieces are compared with is measured beside them, even if the store has it of an earlier day.
    """
    chain_key = None if models.whole is None else program_key(models.whole)
    is_begun = chain_key is None or bool(store.samples(target.setup()).get(chain_key))
    keys = frozenset(map(program_key, anew))
    renewal = NO_REMEASURING if is_begun else RemeasurePolicy(before=time.time(), keys=keys)
    plan = make_plan(wanted, store, target, protocol, renewal)
    different = len({program.canonical for program in models.pieces})
    progress.message(
        f"{len(models.pieces)} pieces, {different} of them different, on {plan.setup.label}: {len(plan.operators)} "
        f"models (pieces alone and in pairs, the network); {len(plan.operators) - len(plan.todo)} known, "
        f"{len(plan.todo)} to measure"
        + (f"; about {format_seconds(_MODEL_SECONDS * len(plan.todo))}" if plan.todo else "")
    )
    return profile_operators(
        wanted,
        store,
        target,
        protocol=protocol,
        rng=np.random.default_rng(seed),
        progress=progress,
        what="models",
        renewal=renewal,
        models=given,
    )


def _opinion(models: PieceModels, target: Target) -> tuple[RuntimeOpinion | None, str]:
    """Return the runtime's own times, or why there are none: they are a second opinion, whose lack is no failure."""
    if models.whole is None:
        return None, "a piece with control flow does not stand in a chain with the others"
    try:
        opinion = ask_runtime(models.pieces, target)
    except DeviceError as error:
        return None, error.message
    return opinion, "" if opinion is not None else f"{target.runtime.name} has no profile of its own"


def _pieces(
    network: Network,
    models: PieceModels,
    table: LatencyTable,
    wholes: tuple[Measurement, Measurement],
    peaks: Peaks,
    opinion: RuntimeOpinion | None,
) -> tuple[BreakdownPiece, ...]:
    """Return the pieces; `wholes` are the latencies of the network and of the chain of all pieces."""
    setup = table.setup
    times = models.times(table.lookup, wholes[1])
    pieces = []
    for number, (operator, taken) in enumerate(zip(network.operators, times, strict=True)):
        counts = count(operator.program)
        macs = counts.macs * setup.batch
        activations = (counts.moved_bytes - counts.weight_bytes) * setup.batch
        moved = (activations + counts.weight_bytes) * _WIDTHS.get(setup.precision, 1.0)
        pieces.append(
            BreakdownPiece(
                number=number,
                name=piece_name(operator.program),
                operator=operator.label,
                key=program_key(operator.program),
                output=_output(operator.program, setup.batch),
                measurement=taken.measurement,
                spread=taken.spread,
                share=taken.measurement.seconds / wholes[0].seconds,
                macs=macs,
                bytes=moved,
                least_seconds=peaks.least_seconds(macs, moved),
                is_compute_bound=peaks.is_compute_bound(macs, moved),
                runtime_seconds=None if opinion is None else opinion.seconds[number],
                nodes=() if opinion is None else opinion.nodes[number],
            )
        )
    return tuple(pieces)


def _output(program: Program, batch: int) -> tuple[int, ...]:
    """Return the sizes of a program's output without the batch."""
    raw = program.raw.get(program.output)
    if raw is not None:
        return raw.dims[1:] if raw.dims and raw.dims[0] == batch else raw.dims
    shape = program.output_shape
    return (shape.channels,) if program.output in program.flat else tuple(shape)
