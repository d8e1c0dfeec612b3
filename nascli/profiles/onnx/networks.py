"""Networks from ONNX models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.reader import Weights
from nascli.profiles.onnx.taking_apart import Piece, take_apart
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


def read_onnx_weights(
    path: Path, *, shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[Network, Weights]:
    """Read an ONNX model of primitives alone as a network with its weights.

    Args:
        path: The file.
        shapes: Shapes by the name of an input, for those that leave sizes open.

    Returns:
        The network, and its weights by the names that `graphs.onnx_model` takes for its program, with batch
        normalisation folded: the model that it writes computes what the file computes.

    Raises:
        ArchitectureError: The file cannot be read, a shape in it cannot be inferred, or a part of it has no primitives.
    """
    model = fold_constants(load_model(path, shapes=shapes))
    pieces = _taken_apart(model, keep_weights=True)
    weights: Weights = {}
    offset = 0
    for piece in pieces:
        if piece.reason is not None:
            raise ArchitectureError(f"{path}: weights are read of primitives alone. {piece.reason}")
        for name, array in piece.weights.items():
            number, _, key = name[1:].partition(".")
            weights[f"n{int(number) + offset}.{key}"] = array
        offset += sum(len(operator.program.nodes) for operator in piece.operators)
    return _network(model, pieces), weights


def network_of(model: OnnxModel) -> Network:
    """Return the network that a model computes, one block for each operator.

    Raises:
        ArchitectureError: The model cannot be taken apart.
    """
    return _network(model, _taken_apart(fold_constants(model), keep_weights=False))


def _taken_apart(model: OnnxModel, *, keep_weights: bool) -> list[Piece]:
    try:
        return take_apart(model, keep_weights=keep_weights)
    except SpaceError as error:
        raise ArchitectureError(f"{model.name}: {error.message}", error.hint) from error


def _network(model: OnnxModel, pieces: Sequence[Piece]) -> Network:
    try:
        operators = [operator for piece in pieces for operator in piece.operators]
        blocks = tuple(FixedBlock(f"layer{number}", operator) for number, operator in enumerate(operators))
        return Network(model.name, blocks)
    except SpaceError as error:
        raise ArchitectureError(f"{model.name}: {error.message}", error.hint) from error
