"""Trained networks as files: ONNX, torch.export, Python code, or a TensorRT engine, each compared with the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nascli.costmodel import Constraint, parse_constraints
from nascli.errors import (
    ArchitectureError,
    ConstraintError,
    InfeasibleError,
    NascliError,
    RuntimeUnavailableError,
    UnknownNameError,
)
from nascli.execution import Execution
from nascli.files import write_atomically
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.whole_networks import measure_network
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.spaces.architecture import Architecture
from nascli.supernet.data.images import Images
from nascli.supernet.modules import ProgramModule, exported_weights, load_network
from nascli.supernet.python_code import python_source, source_weights
from nascli.supernet.training.checkpoint import save_weights
from nascli.units import format_seconds

FORMATS = ("onnx", "pt2", "python", "tensorrt")
# Largest difference between logits, relative to the largest logit or to 1. Folding normalisation into convolutions
# reorders sums, which costs a few roundings in float32.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ExportResult:
    """The files of an exported network.

    Attributes:
        files: Files that were written; Python code has its weights in the second one.
        format: Format of the files, one of `FORMATS`.
        max_difference: Largest difference between the logits of the exported network and the trained one's.
    """

    files: tuple[Path, ...]
    format: str
    max_difference: float

    def to_json(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        return {
            "files": [str(file) for file in self.files],
            "format": self.format,
            "largest_difference": self.max_difference,
        }


@dataclass(frozen=True)
class ExportLatency:
    """The latency of an exported network, measured end to end.

    Attributes:
        seconds: Latency of one batch, in seconds.
        low: Lower end of its 95 % interval, in seconds.
        high: Upper end of its 95 % interval, in seconds.
    """

    seconds: float
    low: float
    high: float

    def to_json(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        return {"measured_latency_s": self.seconds, "measured_interval_s": [self.low, self.high]}


def run_onnx(model: bytes, inputs: torch.Tensor) -> torch.Tensor:
    """Compute an ONNX model with ONNX Runtime on the CPU.

    Args:
        model: Serialised model with one input and one output.
        inputs: `(batch, channels, height, width)` float32.

    Returns:
        The output, `(batch, classes)` float32.
    """
    session = OrtCpu().load(model, RuntimeOptions())
    try:
        return torch.from_numpy(session.run(inputs.contiguous().numpy()))
    finally:
        session.close()


def _is_close(difference: float, expected: torch.Tensor) -> bool:
    """Tell whether logits differ by rounding alone; a difference that is NaN is not close."""
    return difference <= _TOLERANCE * max(1.0, float(expected.abs().max()))


def save_network(
    architecture: Architecture, blocks: Sequence[ProgramModule], folder: Path, batch: int, images: Images
) -> float:
    """Write architecture.json, weights.safetensors, and model.onnx of a trained network.

    Args:
        architecture: Architecture that was trained.
        blocks: Its modules in evaluation order, in evaluation mode.
        folder: Folder of the files.
        batch: Batch size of the ONNX model.
        images: Data set; the model is compared with the network on a batch of its validation part.

    Returns:
        The largest difference between the logits of the model and the network's.

    Raises:
        NascliError: They differ by more than rounding. Nothing is written.
        SpaceError: The network has convolutions at low bit widths, which have no ONNX model.
    """
    program = architecture.network.program
    model = onnx_bytes(program, batch, exported_weights(blocks))
    inputs, _ = images.validation.take(np.arange(min(batch, len(images.validation))))
    inputs = inputs.cpu().contiguous()
    if len(inputs) < batch:
        inputs = inputs.repeat(-(-batch // len(inputs)), 1, 1, 1)[:batch]
    with torch.inference_mode():
        expected = inputs
        for block in blocks:
            expected = block(expected)
    difference = float((run_onnx(model, inputs) - expected).abs().max())
    if not _is_close(difference, expected):
        raise NascliError(
            f"the exported model differs from the trained one by {difference:.2g} in its logits."
        )
    write_atomically(folder / "model.onnx", model)
    save_weights(torch.nn.Sequential(*blocks), folder / "weights.safetensors")
    architecture.save(folder / "architecture.json")
    return difference


def export_architecture(
    path: Path, weights: Path, form: str, out: Path, *, spec: TargetSpec, execution: Execution
) -> ExportResult:
    """Write a trained architecture in a format that needs no nascli, and compare it with the network in torch.

    The comparison is on random images. A TensorRT engine is not computed; the ONNX model that it is built from is.

    Args:
        path: Architecture file.
        weights: Weights of the trained network, from `save_weights`.
        form: Format, one of `FORMATS`: 'onnx', 'pt2' (torch.export), 'python' (a module that imports torch alone, with
            its weights beside it), or 'tensorrt' (an engine for the card of the target).
        out: File to write.
        spec: Target; it has the batch size, and an engine's device and precision.
        execution: How the target is found on this machine.

    Raises:
        UnknownNameError: There is no such format.
        ArchitectureError: The exported network computes something else, or the file name does not suit the format.
        RuntimeUnavailableError: An engine is asked for, and TensorRT does not work here or has no such precision.
        CheckpointError: The weights do not fit the architecture.
    """
    if form not in FORMATS:
        raise UnknownNameError("format", form, list(FORMATS))
    if form == "python" and out.suffix != ".py":
        raise ArchitectureError(
            f"{out} cannot be imported: the names of Python files end in .py.",
            f"Write {out.with_suffix('.py')}",
        )
    architecture = Architecture.load(path)
    network = architecture.network
    module = load_network(network, weights)
    blocks = [block for block in module.children() if isinstance(block, ProgramModule)]
    images = torch.from_numpy(
        np.random.default_rng(0).standard_normal((spec.batch, *network.input)).astype(np.float32)
    )
    with torch.inference_mode():
        expected = module(images)
    files = [out]
    if form in ("onnx", "tensorrt"):
        model = onnx_bytes(network.program, spec.batch, exported_weights(blocks))
        logits = run_onnx(model, images)
        if form == "onnx":
            write_atomically(out, model)
        else:
            _write_engine(model, out, spec, execution)
    elif form == "pt2":
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(torch.export.export(module, (images,)), out)
        logits = torch.export.load(out).module()(images)
    else:
        files.append(out.with_suffix(".safetensors"))
        logits = _write_python(architecture, blocks, out, images)
    difference = float((logits - expected).abs().max().detach())
    if not _is_close(difference, expected):
        raise ArchitectureError(
            f"the exported network differs from the trained one by {difference:.2g} in its logits."
        )
    return ExportResult(tuple(files), form, difference)


def parse_latency_bounds(constraints: Sequence[str], spec: TargetSpec) -> tuple[Constraint, ...]:
    """Parse constraints on the latency of this target, with which a measurement can be compared.

    Args:
        constraints: Constraints such as 'latency<=8ms'.
        spec: Target of the measurement.

    Raises:
        ConstraintError: A constraint cannot be read, or is not about the latency on the target's device.
    """
    devices = {None, spec.device} | (
        {"cpu", this_cpu().key} if spec.device in ("cpu", this_cpu().key) else set()
    )
    bounds = tuple(parse_constraints(constraints))
    for bound in bounds:
        if bound.name != "latency" or bound.device not in devices:
            raise ConstraintError(f"{bound}: what is measured here is the latency on {spec.device}.")
    return bounds


def measure_export(
    path: Path,
    bounds: Sequence[Constraint],
    spec: TargetSpec,
    execution: Execution,
    progress: Progress,
    *,
    feed: ModelFeed = ModelFeed(),
) -> ExportLatency:
    """Measure an exported architecture end to end on its target.

    Args:
        path: Architecture file.
        bounds: Bounds of the latency on this target, from `parse_latency_bounds`.
        spec: Device, batch size, and precision of the measurement.
        execution: Where measurements are kept.
        progress: Progress display.
        feed: Values of the input, instead of random ones.

    Raises:
        InfeasibleError: The interval of the latency is not within a bound. The exported file is kept.
    """
    figure = measure_network(path, spec, execution, progress=progress, feed=feed)
    for bound in bounds:
        if not (bound.low <= figure.low and figure.high <= bound.high):
            raise InfeasibleError(
                f"the exported network takes {format_seconds(figure.seconds)} [{format_seconds(figure.low)}, "
                f"{format_seconds(figure.high)}], which breaks {bound}.",
                "The file is written. Search under that constraint for a network that keeps it.",
            )
    return ExportLatency(figure.seconds, figure.low, figure.high)


def _write_engine(model: bytes, out: Path, spec: TargetSpec, execution: Execution) -> None:
    """Build a TensorRT engine of an ONNX model for a card of this machine."""
    from nascli.profiles.runtimes.base import MemoryCache
    from nascli.profiles.runtimes.tensorrt.runtime import TensorRt

    missing = TensorRt().missing()
    if missing is not None:
        raise RuntimeUnavailableError(f"TensorRT builds engines, and does not work here: {missing}")
    if spec.precision not in ("fp32", "tf32"):
        raise RuntimeUnavailableError(
            f"trained weights are exported in fp32 or tf32, not {spec.precision}.", "Choose one of these."
        )
    target = replace(spec, runtime=TensorRt.name).resolve(execution)
    engine = TensorRt().engine(model, MemoryCache(), target.options.ordinal, tf32=spec.precision == "tf32")
    write_atomically(out, engine)


def _write_python(
    architecture: Architecture, blocks: list[ProgramModule], out: Path, images: torch.Tensor
) -> torch.Tensor:
    """Write a network as a Python module and its weights beside it; return what the module computes."""
    import importlib.util

    from safetensors.torch import save

    weights_file = out.with_suffix(".safetensors")
    weights = source_weights(architecture.network, blocks)
    write_atomically(out, python_source(architecture.network, weights_file.name).encode())
    write_atomically(weights_file, save(weights))
    # The text that was just written, imported as its user imports it.
    spec = importlib.util.spec_from_file_location("nascli_exported", out)
    assert spec is not None and spec.loader is not None
    python_module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python_module)
    net = python_module.Net()
    net.load_state_dict(weights)
    with torch.inference_mode():
        logits: torch.Tensor = net.eval()(images)
    return logits
