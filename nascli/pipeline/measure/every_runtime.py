"""One model on every runtime and in every precision that works on a device, timed side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import ArchitectureError, ModelRefusedError, NascliError, Remedy, RuntimeUnavailableError
from nascli.execution import Execution
from nascli.lut import Measurement, Setup
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.subjects import read_network
from nascli.pipeline.measure.whole_models import load_to_measure
from nascli.profiles.devices.device import Device, find_device
from nascli.profiles.devices.lock import DeviceLock
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.onnx.half_precision import half_precision
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.whole_models import index_values
from nascli.profiles.profiling import held_clock
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import Session
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.side_by_side import time_side_by_side
from nascli.profiles.target import Target, TargetSpec
from nascli.progress import Progress
from nascli.spaces.programs import Program

Array = npt.NDArray[Any]
# A model written in a precision of `onnx_bytes`; None if there is no such form of it.
Models = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Contender:
    """A runtime in one precision.

    Attributes:
        setup: The runtime, its version, the precision, and what else the latency depends on.
        latency: The latency of the model.
        speed: The latency of the first contender divided by this one's.
        distance: The largest difference of an output from the first fp32 contender's, divided by that output's largest
            absolute value; None where there is nothing to compare: an output is no tensor, or the model was quantised
            without data.
    """

    setup: Setup
    latency: Measurement
    speed: float
    distance: float | None

    @property
    def name(self) -> str:
        """The runtime and the precision."""
        return f"{self.setup.runtime} {self.setup.precision}"

    def to_json(self) -> dict[str, object]:
        """As a document."""
        return {
            "runtime": self.setup.runtime,
            "runtime_version": self.setup.runtime_version,
            "precision": self.setup.precision,
            "latency_s": self.latency.seconds,
            "interval_s": [self.latency.low, self.latency.high],
            "rounds": self.latency.rounds,
            "speed": self.speed,
            "distance": self.distance,
        }


@dataclass(frozen=True)
class RuntimeComparison:
    """What every runtime makes of one model.

    Attributes:
        contenders: Those that ran, in the order in which 'auto' tries runtimes.
        left_out: Why others did not run, by the name of a runtime, or of a runtime and a precision. On a CPU it does
            not list runtimes for cards.
    """

    contenders: tuple[Contender, ...]
    left_out: Mapping[str, str]

    @property
    def fastest(self) -> Contender:
        """The contender with the lowest latency."""
        return min(self.contenders, key=lambda one: one.latency.seconds)

    def to_json(self) -> dict[str, object]:
        """As a document."""
        first = self.contenders[0].setup
        return {
            "device": first.device,
            "batch": first.batch,
            "threads": first.threads,
            "runtimes": [one.to_json() for one in self.contenders],
            "left_out": dict(self.left_out),
            "fastest": {"runtime": self.fastest.setup.runtime, "precision": self.fastest.setup.precision},
        }


def models_of_program(program: Program, batch: int) -> Models:
    """Return the models of a program in every precision, with random weights.

    The integer models are quantised without data, so their outputs say nothing.
    """

    def written(precision: str) -> bytes | None:
        return onnx_bytes(program, batch, precision=precision)

    return written


def models_of_file(model: OnnxModel) -> Models:
    """Return the forms of a model from a file: as it is, and with fp16 for fp32. It is not quantised here."""

    def written(precision: str) -> bytes | None:
        if precision == "fp32":
            return model.data
        return half_precision(model) if precision == "fp16" else None

    return written


def compare_runtimes(
    path: Path,
    spec: TargetSpec,
    execution: Execution,
    *,
    feed: ModelFeed = ModelFeed(),
    own_batch: bool = False,
    progress: Progress,
) -> RuntimeComparison:
    """Time a network from a file on every runtime of this machine in every precision, in the same rounds.

    Args:
        path: An architecture's .json file, or an .onnx model, which is timed as it is.
        spec: The device, batch, and threads; its runtime and precision do not count.
        execution: Names the package that provides CUDA memory and events.
        feed: Shapes and values of inputs.
        own_batch: Whether a model that is fixed at one batch is measured at it, whatever `spec` says.
        progress: Is told how far it is.

    Raises:
        ArchitectureError: The file cannot be read.
        RuntimeUnavailableError: No runtime runs the model.
        NascliError: A given value does not fit the model's inputs.
        DeviceError: The device is not here, or failed.
    """
    inputs = dict(feed.values)
    if path.suffix == ".onnx":
        model = load_to_measure(path, spec, feed, own_batch=own_batch)
        spec, models = replace(spec, batch=model.batch), models_of_file(model)
        if feed.integer_range is None:
            inputs = {**index_values(model), **inputs}
    else:
        models = models_of_program(read_network(path)[0].program, spec.batch)
    return measure_on_every_runtime(
        models,
        spec,
        execution,
        integer_range=feed.integer_range or (0, 1),
        inputs=inputs,
        progress=progress,
    )


def measure_on_every_runtime(
    models: Models,
    spec: TargetSpec,
    execution: Execution,
    *,
    integer_range: tuple[int, int] = (0, 1),
    inputs: Mapping[str, Array] | None = None,
    protocol: MeasurementProtocol | None = None,
    seed: int = 0,
    progress: Progress,
) -> RuntimeComparison:
    """Time one model on every runtime of this machine in every precision, in the same rounds.

    The figures are for comparing the runtimes, and are not kept in the store.

    Args:
        models: The model in the precision that is asked for.
        spec: The device, batch, and threads; its runtime and precision do not count.
        execution: Names the package that provides CUDA memory and events.
        integer_range: The lowest and the highest value of random integers in inputs.
        inputs: Values by the name of an input, which replace random ones.
        protocol: How closely latencies are measured; None for the default.
        seed: The seed of the order in which models are timed.
        progress: Is told how far it is.

    Raises:
        RuntimeUnavailableError: No runtime runs the model.
        NascliError: A given value does not fit the model's inputs.
        DeviceError: The device is not here, or failed.
    """
    device = find_device(spec.device)
    targets, left_out = _targets(spec, execution)
    loaded: dict[str, tuple[Target, Session]] = {}
    try:
        for name, target in targets.items():
            options = replace(target.options, integer_range=integer_range, inputs=dict(inputs or {}))
            form = target.runtime.precisions[options.precision]
            try:
                model = models(form)
            except ArchitectureError as error:
                left_out[name] = error.message
                continue
            if model is None:
                left_out[name] = f"the model is not written in {form}"
                continue
            try:
                loaded[name] = replace(target, options=options), target.runtime.load(model, options)
            except ModelRefusedError as error:
                left_out[name] = error.message
        _require_any(loaded, left_out, device)
        first = next(iter(loaded.values()))[0]
        distances = _distances(loaded)
        progress.start(f"measuring on {device.title} in {len(loaded)} ways", len(loaded))
        with DeviceLock(device, progress), held_clock(first, progress):
            latencies, refused = time_side_by_side(
                {name: session for name, (_, session) in loaded.items()},
                first,
                protocol or MeasurementProtocol(),
                rng=np.random.default_rng(seed),
                progress=progress,
            )
    finally:
        for _, session in loaded.values():
            session.close()
    left_out |= refused
    _require_any(latencies, left_out, device)
    reference = next(iter(latencies.values())).seconds
    contenders = tuple(
        Contender(loaded[name][0].setup(), latency, reference / latency.seconds, distances.get(name))
        for name, latency in latencies.items()
    )
    return RuntimeComparison(contenders, left_out)


def _targets(spec: TargetSpec, execution: Execution) -> tuple[dict[str, Target], dict[str, str]]:
    """Return every runtime in every precision that works here, by name; and why others do not."""
    targets, left_out = {}, {}
    device = find_device(spec.device)
    for runtime in all_runtimes().values():
        refusal = runtime.refuses(device)
        if refusal is not None and device.card is None:
            # A runtime for cards. On a card the reason may be worth knowing, such as a driver that is too old.
            continue
        unusable = refusal or runtime.missing()
        if unusable is not None:
            left_out[runtime.name] = unusable
            continue
        for precision in runtime.precisions:
            name = f"{runtime.name} {precision}"
            target = replace(spec, runtime=runtime.name, precision=precision).resolve(execution)
            try:
                target.setup()
            except NascliError as error:
                left_out[name] = error.message
            else:
                targets[name] = target
    return targets, left_out


def _require_any(those: Mapping[str, object], left_out: Mapping[str, str], device: Device) -> None:
    if not those:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise RuntimeUnavailableError(
            f"no runtime runs the model on {device.key}. {reasons}",
            "See what is missing.",
            Remedy(job="run_checks"),
        )


def _distances(loaded: Mapping[str, tuple[Target, Session]]) -> dict[str, float]:
    """Return how far each contender's outputs are from those of the first in fp32, where both have outputs.

    Models that are written in integers here are left out: their scales suit random weights only.
    """
    expected: Mapping[str, Array] | None = None
    distances = {}
    for name, (target, session) in loaded.items():
        if target.runtime.precisions[target.options.precision].startswith("int8"):
            continue
        try:
            outputs = session.evaluate({})
        except ModelRefusedError:
            # An output that is no tensor can be timed, and not compared.
            continue
        if expected is None:
            if target.options.precision != "fp32":
                continue
            expected = outputs
        distances[name] = output_distance(expected, outputs)
    return distances


def output_distance(expected: Mapping[str, Array], outputs: Mapping[str, Array]) -> float:
    """Return the largest difference of an output, relative to the largest absolute value that it should have.

    Args:
        expected: The outputs by name.
        outputs: Outputs of the same names and shapes.

    Returns:
        The largest over all outputs; infinite where shapes differ, or where something is not finite that should be.
    """
    largest = 0.0
    for name, wanted in expected.items():
        got = outputs.get(name)
        if got is None or got.shape != wanted.shape:
            return float("inf")
        if wanted.size == 0 or wanted.dtype.hasobject:
            continue
        kind = np.complex128 if wanted.dtype.kind == "c" else np.float64
        a, b = wanted.astype(kind), got.astype(kind)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        differing, instead = a[~same], b[~same]
        if not (np.all(np.isfinite(differing)) and np.all(np.isfinite(instead))):
            return float("inf")
        difference = float(np.abs(differing - instead).max(initial=0.0))
        scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
        if difference > 0:
            largest = max(largest, difference / scale if scale > 0 else float("inf"))
    return largest
