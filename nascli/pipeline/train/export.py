"""Trained networks as files: ONNX, torch.export, a TensorRT engine, or Python code, each held against the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nascli.costmodel import Constraint, parse_constraints
from nascli.errors import (
    ArchitectureError,
    ConstraintError,
    InfeasibleError,
    NascliError,
    Remedy,
    RuntimeUnavailableError,
    UnknownNameError,
)
from nascli.execution import Execution
from nascli.files import write_atomically
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

# Logits are of order one; folding normalisation reorders sums, which costs a few float32 roundings.
_TOLERANCE = 1e-3


def run_onnx(model: bytes, inputs: torch.Tensor) -> torch.Tensor:
    """What an ONNX model computes on the CPU."""
    session = OrtCpu().load(model, RuntimeOptions())
    try:
        return torch.from_numpy(session.run(inputs.contiguous().numpy()))
    finally:
        session.close()


def save_network(
    architecture: Architecture, blocks: Sequence[ProgramModule], folder: Path, batch: int, images: Images
) -> float:
    """Write architecture.json, weights.safetensors and model.onnx.

    Returns:
        the largest difference between ONNX's and torch's logits on one batch of real images.

    Raises:
        NascliError: the exported model does not compute what the trained one does.
    """
    program = architecture.network.program
    model = onnx_bytes(program, batch, exported_weights(blocks))
    inputs = images.validation.images[:batch]
    if len(inputs) < batch:
        inputs = inputs.repeat(-(-batch // len(inputs)), 1, 1, 1)[:batch]
    with torch.inference_mode():
        expected = inputs
        for block in blocks:
            expected = block(expected)
    difference = float((run_onnx(model, inputs) - expected).abs().max())
    if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
        raise NascliError(
            f"the exported model differs from the trained one by {difference:.2g} in its logits"
        )
    write_atomically(folder / "model.onnx", model)
    save_weights(torch.nn.Sequential(*blocks), folder / "weights.safetensors")
    architecture.save(folder / "architecture.json")
    return difference


FORMATS = ("onnx", "pt2", "python", "tensorrt")


def export_architecture(
    path: Path, weights: Path, form: str, spec: TargetSpec, execution: Execution, out: Path
) -> dict[str, Any]:
    """Write a trained architecture as ONNX, by torch.export, as plain PyTorch code with its weights beside it, or as
    a TensorRT engine.

    Every form is checked: what it computes is compared with the network in torch on random images; of an engine,
    what the ONNX model computes that it is built from.

    Raises:
        UnknownNameError: no such format.
        RuntimeUnavailableError: an engine where TensorRT does not work.
        CheckpointError: weights that do not fit the architecture.
    """
    if form not in FORMATS:
        raise UnknownNameError("format", form, list(FORMATS))
    if form == "python" and out.suffix != ".py":
        raise ArchitectureError(
            f"{out} cannot be imported: Python code is in files that end in .py.",
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
        given = run_onnx(model, images)
        if form == "onnx":
            write_atomically(out, model)
        else:
            _engine(model, out, spec, execution)
    elif form == "pt2":
        out.parent.mkdir(parents=True, exist_ok=True)
        torch.export.save(torch.export.export(module, (images,)), out)
        given = torch.export.load(out).module()(images)
    else:
        files.append(out.with_suffix(".safetensors"))
        given = _source(architecture, blocks, out, images)
    difference = float((given - expected).abs().max().detach())
    if not difference <= 1e-3 * max(1.0, float(expected.abs().max())):
        raise ArchitectureError(f"the exported network differs from the trained one by {difference:.2g}.")
    return {"files": [str(file) for file in files], "format": form, "largest_difference": difference}


def bounds_here(constraints: Sequence[str], spec: TargetSpec) -> tuple[Constraint, ...]:
    """Constraints that a measurement here can be held against.

    Raises:
        ConstraintError: one that is not about this device's latency.
    """
    here = {None, spec.device} | (
        {"cpu", this_cpu().key} if spec.device in ("cpu", this_cpu().key) else set()
    )
    bounds = tuple(parse_constraints(constraints))
    for bound in bounds:
        if bound.name != "latency" or bound.device not in here:
            raise ConstraintError(f"{bound}: what is measured here is the latency on {spec.device}.")
    return bounds


def measured_export(
    path: Path, bounds: Sequence[Constraint], spec: TargetSpec, execution: Execution, progress: Progress
) -> dict[str, Any]:
    """What an exported architecture takes on the device, end to end.

    Args:
        path: the architecture's file.
        bounds: of this device's latency, from `bounds_here`.
        spec: On which device and how.
        execution: Where measurements are kept.
        progress: is shown the measuring.

    Raises:
        InfeasibleError: it breaks one of them; the file is written all the same.
    """
    figure = measure_network(path, spec, execution, progress=progress)
    for bound in bounds:
        if not (bound.low <= figure.low and figure.high <= bound.high):
            raise InfeasibleError(
                f"the exported network takes {format_seconds(figure.seconds)} [{format_seconds(figure.low)}, "
                f"{format_seconds(figure.high)}], which breaks {bound}.",
                "The file is written. Search under that constraint for a network that keeps it.",
            )
    return {"measured_latency_s": figure.seconds, "measured_interval_s": [figure.low, figure.high]}


def _engine(model: bytes, out: Path, spec: TargetSpec, execution: Execution) -> None:
    """Write a TensorRT engine for a card that is here."""
    from nascli.profiles.runtimes.base import MemoryCache
    from nascli.profiles.runtimes.tensorrt.runtime import TensorRt

    missing = TensorRt().missing()
    if missing is not None:
        raise RuntimeUnavailableError(f"an engine is built by TensorRT, which does not work here: {missing}")
    if spec.precision not in ("fp32", "tf32"):
        raise RuntimeUnavailableError(
            f"trained weights are exported in fp32 or tf32, not {spec.precision}.",
            "Choose one of these.",
            Remedy(arguments={"precision": None}),
        )
    place = replace(spec, runtime=TensorRt.name).resolve(execution)
    engine = TensorRt().engine(model, MemoryCache(), place.options.ordinal, tf32=spec.precision == "tf32")
    write_atomically(out, engine)


def _source(
    architecture: Architecture, blocks: list[ProgramModule], out: Path, images: torch.Tensor
) -> torch.Tensor:
    import importlib.util

    from safetensors.torch import save

    side = out.with_suffix(".safetensors")
    weights = source_weights(architecture.network, blocks)
    write_atomically(out, python_source(architecture.network, side.name).encode())
    write_atomically(side, save(weights))
    # Our own text, just written: imported as its user will import it.
    spec = importlib.util.spec_from_file_location("nascli_exported", out)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    net = made.Net()
    net.load_state_dict(weights)
    with torch.inference_mode():
        result: torch.Tensor = net.eval()(images)
    return result
