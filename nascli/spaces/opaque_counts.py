"""What a piece of ONNX costs on paper: MACs, weights, and bytes, from the types of its values.

The conventions are those of `nascli.spaces.counts`: matrix products and convolutions have MACs, everything else has
none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from nascli.errors import SpaceError
from nascli.spaces.opaque_graphs import ABSENT, OpaqueGraph, OpaqueNode, TensorType

# Position of the weight among the inputs of each kind of convolution, and of the right factor of each matrix product.
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "FusedConv": 1, "QLinearConv": 3}
_PRODUCTS = {
    "Gemm": 1, "MatMul": 1, "MatMulInteger": 1, "FusedMatMul": 1, "FusedGemm": 1, "QLinearMatMul": 3, "QGemm": 3,
}  # fmt: skip
_RECURRENT = ("LSTM", "GRU", "RNN")
_OTHERS_WITH_MACS = ("ConvTranspose", "Einsum", *_RECURRENT)
# Nodes that give their input another shape without touching its elements.
_VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout", "Cast")


class OpaqueCounts(NamedTuple):
    """Counts of a piece for all samples of its batch together.

    Attributes:
        macs: Multiply-accumulates of convolutions and matrix products.
        params: Elements of all weights.
        weights: Elements of the weights of convolutions and matrix products.
        weight_bytes: Bytes of all weights and constants.
        moved_bytes: Bytes that nodes read and write; those that only change a shape move none.
        peak_bytes: Maximum number of bytes of computed values that exist at the same time.
        uncounted: Types of the nodes that have no MACs, sorted.
    """

    macs: int
    params: int
    weights: int
    weight_bytes: int
    moved_bytes: int
    peak_bytes: int
    uncounted: tuple[str, ...]


def macs_of_node(
    op: str,
    attributes: dict[str, Any],
    inputs: Sequence[TensorType | None],
    outputs: Sequence[TensorType | None],
) -> int | None:
    """Return the MACs of one ONNX node; None if its type has none by convention.

    Args:
        op: The type of the node.
        attributes: Its attributes by name.
        inputs: Types of its inputs; None where an input is left out or its type is unknown.
        outputs: Types of its outputs.

    Raises:
        SpaceError: The node has MACs, and a shape that they depend on is unknown.
    """
    if op in _CONVOLUTIONS:
        output, weight = _known(op, outputs[0], inputs[_CONVOLUTIONS[op]])
        return output.size * math.prod(weight.dims[1:])
    if op == "ConvTranspose":
        source, weight = _known(op, inputs[0], inputs[1])
        return source.size * math.prod(weight.dims[1:])
    if op in _PRODUCTS:
        output, left = _known(op, outputs[0], inputs[0])
        if not left.dims:
            raise SpaceError(f"a {op} of a scalar cannot be counted")
        return output.size * left.dims[0 if attributes.get("transA") and len(left.dims) == 2 else -1]
    if op == "Einsum":
        return _einsum(str(attributes.get("equation", "")), [_known(op, kind)[0] for kind in inputs])
    if op in _RECURRENT:
        source, weight, recurrence = _known(op, inputs[0], inputs[1], inputs[2])
        return math.prod(source.dims[:2]) * (weight.size + recurrence.size)
    return None


def has_macs(op: str) -> bool:
    """Return whether nodes of a type multiply and accumulate, and are counted."""
    return op in _CONVOLUTIONS or op in _PRODUCTS or op in _OTHERS_WITH_MACS


def _known(op: str, *kinds: TensorType | None) -> list[TensorType]:
    known = [kind for kind in kinds if kind is not None]
    if len(known) < len(kinds):
        raise SpaceError(f"a shape of a {op} cannot be inferred, so it cannot be counted")
    return known


def _einsum(equation: str, operands: Sequence[TensorType]) -> int | None:
    """Return the product of the sizes of all indices where operands are multiplied and summed; None elsewhere."""
    if len(operands) < 2 or "..." in equation:
        return None
    sizes: dict[str, int] = {}
    left = equation.replace(" ", "").partition("->")[0].split(",")
    for indices, operand in zip(left, operands, strict=False):
        sizes.update(zip(indices, operand.dims, strict=False))
    return math.prod(sizes.values())


def _node_macs(graph: OpaqueGraph, node: OpaqueNode) -> int | None:
    inputs = [None if value == ABSENT else graph.types[value] for value in node.inputs]
    return macs_of_node(node.op, {a.name: a.value for a in node.attributes}, inputs, node.outputs)


@lru_cache(maxsize=4096)
def opaque_counts(text: str) -> OpaqueCounts:
    """Return the counts of a piece, given by its canonical text.

    Raises:
        SpaceError: The text is not a piece, or a shape that a count depends on is unknown.
    """
    graph = OpaqueGraph.parse(text)
    macs = 0
    uncounted: set[str] = set()
    in_products: set[int] = set()
    for node in graph.nodes:
        own = _node_macs(graph, node)
        if own is None:
            uncounted.add(node.op)
        else:
            macs += own
            in_products.update(value for value in node.inputs if graph.is_weight(value))
    matrices = [graph.type_of(value) for value in in_products if len(graph.type_of(value).dims) > 1]
    return OpaqueCounts(
        macs=macs,
        params=sum(weight.size for weight in graph.weights),
        weights=sum(matrix.size for matrix in matrices),
        weight_bytes=sum(w.bytes for w in graph.weights) + sum(c.type.bytes for c in graph.constants),
        moved_bytes=_moved_bytes(graph),
        peak_bytes=_peak_bytes(graph),
        uncounted=tuple(sorted(uncounted)),
    )


def _bytes(graph: OpaqueGraph, value: int) -> int:
    kind = graph.types[value]
    return 0 if kind is None else kind.bytes


def _moved_bytes(graph: OpaqueGraph) -> int:
    moved = sum(weight.bytes for weight in graph.weights)
    for node, outputs in graph.walk():
        if node.op not in _VIEWS:
            read = {value for value in node.inputs if value != ABSENT and graph.is_computed(value)}
            moved += sum(_bytes(graph, value) for value in (*read, *outputs))
    return moved


def _peak_bytes(graph: OpaqueGraph) -> int:
    last_use = {value: len(graph.nodes) for value in graph.outputs}
    for position, node in enumerate(graph.nodes):
        for value in node.inputs:
            last_use[value] = max(position, last_use.get(value, 0))
    alive = {value: _bytes(graph, value) for value in range(len(graph.inputs))}
    peak = sum(alive.values())
    for position, (_, outputs) in enumerate(graph.walk()):
        alive.update({value: _bytes(graph, value) for value in outputs})
        peak = max(peak, sum(alive.values()))
        alive = {v: size for v, size in alive.items() if last_use.get(v, position) > position}
    return peak
