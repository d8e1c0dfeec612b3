"""Handing a trained network over: its architecture, its weights, and an ONNX file checked against torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from nascli.errors import NascliError
from nascli.files import write_atomically
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces.architecture import Architecture
from nascli.supernet.data.images import Images
from nascli.supernet.modules import ProgramModule, exported_weights
from nascli.supernet.training.checkpoint import save_weights

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
