"""Handing a trained network over: its architecture, its weights, and an ONNX file checked against torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nascli.errors import NascliError
from nascli.files import write_atomically
from nascli.profiles.graphs import onnx_bytes
from nascli.profiles.runtimes import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces.architecture import Architecture
from nascli.supernet.data import Images
from nascli.supernet.modules import ProgramModule, exported_weights

# Logits are of order one; folding normalisation reorders sums, which costs a few float32 roundings.
_TOLERANCE = 1e-3


def save_network(
    architecture: Architecture, blocks: Sequence[ProgramModule], folder: Path, batch: int, images: Images
) -> float:
    """Write architecture.json, weights.safetensors and model.onnx.

    Returns:
        the largest difference between ONNX's and torch's logits on one batch of real images.

    Raises:
        NascliError: the exported model does not compute what the trained one does.
    """
    from safetensors.torch import save

    program = architecture.network.program
    model = onnx_bytes(program, batch, exported_weights(blocks))
    inputs = images.validation.images[:batch]
    if len(inputs) < batch:
        inputs = inputs.repeat(-(-batch // len(inputs)), 1, 1, 1)[:batch]
    with torch.inference_mode():
        expected = inputs
        for block in blocks:
            expected = block(expected)
    session = OrtCpu().load(model, RuntimeOptions())
    try:
        given = session.run(inputs.contiguous().numpy())
    finally:
        session.close()
    difference = float(np.abs(given - expected.numpy()).max())
    if not difference <= _TOLERANCE * max(1.0, float(expected.abs().max())):
        raise NascliError(
            f"the exported model differs from the trained one by {difference:.2g} in its logits"
        )
    state = torch.nn.Sequential(*blocks).state_dict()
    write_atomically(folder / "model.onnx", model)
    write_atomically(folder / "weights.safetensors", save({k: v.contiguous() for k, v in state.items()}))
    architecture.save(folder / "architecture.json")
    return difference
