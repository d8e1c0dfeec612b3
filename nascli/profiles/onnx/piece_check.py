"""Whether the pieces that a model was taken apart into compute, put together again, what the model computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.graphs import onnx_model
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.opaque import value_info, weight_names
from nascli.profiles.onnx.running import relative_difference, run_model
from nascli.profiles.onnx.taking_apart import Piece, take_apart
from nascli.profiles.runtimes.inputs import ModelInput, input_values
from nascli.spaces.programs import chain

Array = npt.NDArray[Any]
# Largest difference, relative to the largest value. Folding normalisation and fusing nodes otherwise reorder sums.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class PieceCheck:
    """How the pieces of a model compare with it.

    Attributes:
        pieces: Number of pieces.
        opaque: Number of those among them that are pieces of ONNX, without primitives.
        difference: Largest difference of a value between two pieces, relative to the largest entry of that value.
        value: Name of the value in the file where it is largest.
    """

    pieces: int
    opaque: int
    difference: float
    value: str


def check_pieces(model: OnnxModel) -> PieceCheck:
    """Take a model apart, run its pieces one after the other with its own weights, and compare with the model.

    Each piece computes from what the pieces before it computed; inputs are random.

    Args:
        model: The model as it was loaded.

    Raises:
        ArchitectureError: It cannot be taken apart, or a piece computes something else; the first one is named.
        ModelRefusedError: ONNX Runtime refuses the model or a piece.
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    model = fold_constants(model)
    pieces = take_apart(model, keep_weights=True)
    inputs = [ModelInput(name, kind.element, kind.dims) for name, kind in model.inputs]
    values = input_values(inputs, (0, 1), {})
    expected = run_model(_with_outputs(model, pieces), values)
    difference, worst = 0.0, pieces[-1].segment.output
    for piece in pieces:
        computed = _run(piece, model, values)
        for name, value in computed.items():
            off = relative_difference(value, expected[name])
            if off > TOLERANCE:
                raise ArchitectureError(
                    f"{model.name}: the piece from {piece.segment.source!r} to {piece.segment.output!r} computes "
                    f"something else than the file: {name!r} differs by {off:.2g} of its largest value."
                )
            if off > difference:
                difference, worst = off, name
        values |= computed
    opaque = sum(piece.reason is not None for piece in pieces)
    return PieceCheck(len(pieces), opaque, difference, worst)


def _with_outputs(model: OnnxModel, pieces: list[Piece]) -> bytes:
    """Return the model with everything that leaves a piece among its outputs."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    known = {output.name for output in proto.graph.output}
    for piece in pieces:
        if piece.segment.output not in known:
            proto.graph.output.append(value_info(piece.segment.output, model.types[piece.segment.output]))
    return bytes(proto.SerializeToString())


def _run(piece: Piece, model: OnnxModel, values: Mapping[str, Array]) -> dict[str, Array]:
    """Return what leaves a piece, computed from values by their names in the file."""
    segment = piece.segment
    program = chain([operator.program for operator in piece.operators])
    if piece.reason is None:
        proto = onnx_model(program, model.batch, piece.weights)
    else:
        proto = onnx_model(program, model.batch)
        names = weight_names(
            segment.nodes,
            [segment.source, *segment.inputs],
            [segment.output, *segment.outputs],
            model.initializers,
        )
        # The weights of a piece are its first initialisers.
        for tensor, name in zip(proto.graph.initializer, names, strict=False):
            written = tensor.name
            tensor.CopyFrom(model.initializers[name])
            tensor.name = written
    sources = (segment.source, *segment.inputs)
    feeds = {
        value.name: np.reshape(values[source], [d.dim_value for d in value.type.tensor_type.shape.dim])
        for value, source in zip(proto.graph.input, sources, strict=True)
    }
    computed = run_model(proto.SerializeToString(), feeds)
    results = [computed[output.name] for output in proto.graph.output]
    return {
        name: np.reshape(value, model.types[name].dims)
        for name, value in zip((segment.output, *segment.outputs), results, strict=True)
    }
