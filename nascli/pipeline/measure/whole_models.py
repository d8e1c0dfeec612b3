"""ONNX models of any kind measured end to end, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nascli.errors import ArchitectureError, ModelRefusedError, Remedy
from nascli.execution import Execution
from nascli.lut import LatencyTable, Measurement, Store, program_key
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.profiles.onnx.half_precision import half_precision
from nascli.profiles.onnx.model_files import OnnxModel, load_model
from nascli.profiles.onnx.whole_models import index_values, unknown_nodes, whole_program
from nascli.profiles.profiling import profile_operators
from nascli.profiles.protocol import GivenModel, MeasurementProtocol
from nascli.profiles.target import Target, TargetSpec
from nascli.progress import Progress
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program

# Nodes that an error names.
_NAMED_NODES = 3


@dataclass(frozen=True)
class MeasuredModel:
    """A network from a file, and its latency.

    Attributes:
        path: Its file.
        batch: Samples per run.
        measurement: The latency of a run.
    """

    path: Path
    batch: int
    measurement: Measurement

    def to_json(self) -> dict[str, object]:
        """The latency as a document."""
        return {
            "file": str(self.path),
            "batch": self.batch,
            "measured_latency_s": self.measurement.seconds,
            "interval_s": [self.measurement.low, self.measurement.high],
            "rounds": self.measurement.rounds,
        }


def measure_models(
    paths: Sequence[Path],
    spec: TargetSpec,
    execution: Execution,
    *,
    feed: ModelFeed,
    own_batch: bool,
    progress: Progress,
    protocol: MeasurementProtocol,
) -> list[MeasuredModel]:
    """Measure the end-to-end latency of ONNX models, whatever they are built of.

    What is timed is the file itself, with its weights, its sizes, and its element types. Models of one batch are timed
    side by side. Figures are kept in the store under the model's graph, so that a model with other weights finds them.

    Args:
        paths: The files.
        spec: On which device and how.
        execution: Where measurements are kept.
        feed: The models' inputs.
        own_batch: Whether models that are fixed at one batch are measured at it, whatever `spec` says.
        progress: Is told how far it is.
        protocol: How closely a model is measured.

    Returns:
        The latencies in the order of the files.

    Raises:
        ArchitectureError: A file cannot be loaded, or has no form in the precision.
        DeviceError: The device is not here or failed, or the runtime refuses a model.
    """
    target = feed.on(spec.resolve(execution))
    target.setup()
    models = [load_to_measure(path, spec, feed, own_batch=own_batch) for path in paths]
    given = [(model, whole_program(model), given_model(model, feed, target)) for model in models]
    figures: dict[int, MeasuredModel] = {}
    with Store(execution.store) as store:
        for batch in dict.fromkeys(model.batch for model in models):
            positions = [position for position, model in enumerate(models) if model.batch == batch]
            table = _measured(
                [given[position] for position in positions],
                store,
                replace(target, batch=batch),
                progress=progress,
                protocol=protocol,
            )
            for position in positions:
                figure = table.lookup(given[position][1])
                assert figure is not None
                figures[position] = MeasuredModel(paths[position], batch, figure)
    return [figures[position] for position in range(len(paths))]


def _measured(
    given: Sequence[tuple[OnnxModel, Program, GivenModel]],
    store: Store,
    target: Target,
    *,
    progress: Progress,
    protocol: MeasurementProtocol,
) -> LatencyTable:
    """Measure models of one batch side by side."""
    try:
        return profile_operators(
            [Operator(f"network {model.name}", (), program) for model, program, _ in given],
            store,
            target,
            protocol=protocol,
            rng=np.random.default_rng(0),
            progress=progress,
            what="networks",
            models={program_key(program): data for _, program, data in given},
        )
    except ModelRefusedError as error:
        error.message += _unknown([model for model, *_ in given])
        error.hint = "Other values of inputs, a smaller batch, or another runtime may do."
        error.remedies = tuple(
            Remedy(arguments={name: None}) for name in ("integer_range", "batch", "runtime")
        )
        raise


def load_to_measure(path: Path, spec: TargetSpec, feed: ModelFeed, *, own_batch: bool) -> OnnxModel:
    """Load a model at the batch at which it is measured.

    Args:
        path: The file.
        spec: Says the batch.
        feed: Says shapes.
        own_batch: Whether a model that is fixed at one batch is measured at it, whatever `spec` says.

    Raises:
        ArchitectureError: The file cannot be loaded at the batch.
    """
    return load_model(
        path,
        shapes=feed.known_shapes,
        batch=None if own_batch else spec.batch,
        default_batch=spec.batch,
    )


def given_model(model: OnnxModel, feed: ModelFeed, target: Target) -> GivenModel:
    """Return a model as a runtime loads it, in the precision of the target.

    Raises:
        ArchitectureError: The model has no form in the precision.
    """
    precision = target.options.precision
    match target.runtime.precisions[precision]:
        case "fp32":
            data = model.data
        case "fp16":
            data = half_precision(model)
        case _:
            raise ArchitectureError(
                f"{model.name} is not quantised here: that needs scales calibrated on data, so {precision} is for "
                "networks that nascli writes itself.",
                "Quantise the file with a tool of the runtime, and measure the quantised file as it is.",
                Remedy(arguments={"precision": "fp32"}),
            )
    return GivenModel(data, index_values(model) if feed.integer_range is None else {})


def _unknown(models: Sequence[OnnxModel]) -> str:
    """Return which nodes are not ONNX's own, as a sentence behind the runtime's own message; empty without any."""
    nodes = [node for model in models for node in unknown_nodes(model)]
    if not nodes:
        return ""
    more = f", and {len(nodes) - _NAMED_NODES} more" if len(nodes) > _NAMED_NODES else ""
    return f" ONNX does not define {', '.join(nodes[:_NAMED_NODES])}{more}."
