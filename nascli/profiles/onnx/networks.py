"""Networks from ONNX models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.taking_apart import take_apart
from nascli.spaces.blocks import FixedBlock
from nascli.spaces.network import Network


def read_onnx_network(
    path: Path, *, batch: int | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Network:
    """Read an ONNX model as a network.

    Args:
        path: The file.
        batch: Samples that the network's pieces of ONNX are written for. A network of primitives alone is good for
            every batch. None takes the model's own, or 1.
        shapes: Shapes by the name of an input, for those that leave sizes open.

    Raises:
        ArchitectureError: The file cannot be read, a shape in it cannot be inferred, or the model cannot be rewritten
            for the batch.
    """
    network = network_of(load_model(path, shapes=shapes))
    if batch is None or network.program.batch in (None, batch):
        return network
    return network_of(load_model(path, shapes=shapes, batch=batch))


def network_of(model: OnnxModel) -> Network:
    """Return the network that a model computes, one block for each operator.

    Raises:
        ArchitectureError: The model cannot be taken apart.
    """
    try:
        pieces = take_apart(fold_constants(model))
        operators = [operator for piece in pieces for operator in piece.operators]
        blocks = tuple(FixedBlock(f"layer{number}", operator) for number, operator in enumerate(operators))
        return Network(model.name, blocks)
    except SpaceError as error:
        raise ArchitectureError(f"{model.name}: {error.message}", error.hint) from error
