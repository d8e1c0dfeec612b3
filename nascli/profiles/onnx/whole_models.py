"""A model of somebody else's as one operator, to be timed as it is, and the integers that its inputs take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.opaque import opaque_graph
from nascli.profiles.onnx.tidying import said
from nascli.spaces.opaque_graphs import sample_shape
from nascli.spaces.primitives import Opaque, Shape
from nascli.spaces.programs import Builder, Program

# Nodes that take entries of a table: where the index stands among their inputs, and where the table.
_TABLE_READERS = {
    "Gather": ((1, 0),),
    "GatherElements": ((1, 0),),
    "EmbedLayerNormalization": ((0, 2), (1, 4)),
}
# Nodes that pass integers on without changing them.
_PASSING = (
    "Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Slice", "Concat",
    "Split", "Tile",
)  # fmt: skip


def whole_program(model: OnnxModel) -> Program:
    """Return a model as a program of one piece of ONNX, whose key identifies it in tables.

    Models that differ in the values of their weights alone have the same program.

    Raises:
        ArchitectureError: An output is no tensor, has no elements, or depends on no node; or the model has something
            that the canonical form of a piece lacks.
    """
    graph = model.proto.graph
    outputs = [name for name, _ in model.outputs]
    try:
        piece = opaque_graph(
            graph.node,
            [name for name, _ in model.inputs],
            outputs,
            types=model.types,
            initializers=model.initializers,
            opset=model.opset,
            batch=model.batch,
        )
        builder = Builder(Shape(*sample_shape(piece.inputs[0], piece.batch)))
        return builder.build(builder.append(Opaque(piece.text), (0,)))
    except SpaceError as error:
        raise ArchitectureError(f"{model.name} cannot be kept as an operator: {error.message}") from error


def index_values(model: OnnxModel) -> dict[str, npt.NDArray[Any]]:
    """Return values for the integer inputs of a model that index tables, such as the words of a text.

    Returns:
        For each such input random integers below the smallest size that it indexes. The generators are seeded by the
        position of the input, so that a model always gets the same values.
    """
    bounds = _index_bounds(model)
    values = {}
    for position, (name, kind) in enumerate(model.inputs):
        bound = bounds.get(name, 0)
        if bound > 0 and kind.element in ("int32", "int64"):
            integers = np.random.default_rng(position).integers(0, bound, kind.dims)
            values[name] = integers.astype(kind.element)
    return values


def _index_bounds(model: OnnxModel) -> dict[str, int]:
    """Return the smallest size that each input indexes, for those that index."""
    origins: dict[str, set[str]] = {name: {name} for name, _ in model.inputs}
    bounds: dict[str, int] = {}
    for node in model.proto.graph.node:
        for index, table in _TABLE_READERS.get(node.op_type, ()):
            if max(index, table) < len(node.input):
                kind = model.types.get(node.input[table])
                axis = next((int(a.i) for a in node.attribute if a.name == "axis"), 0)
                if kind is not None and -len(kind.dims) <= axis < len(kind.dims):
                    for name in origins.get(node.input[index], ()):
                        bounds[name] = min(kind.dims[axis], bounds.get(name, kind.dims[axis]))
        if node.op_type in _PASSING:
            passed = set().union(*(origins.get(name, set()) for name in node.input))
            origins.update((name, passed) for name in node.output if passed)
    return bounds


def unknown_nodes(model: OnnxModel) -> Iterator[str]:
    """Yield the nodes in words whose type ONNX does not define, and which only some runtimes know."""
    for node in model.proto.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if not onnx.defs.has(node.op_type, domain):
            yield said(node)
