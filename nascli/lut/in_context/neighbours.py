"""What stands before and behind an operator while it is measured in context: what a network would have there.

Between images stand pointwise convolutions, between vectors linear layers, and between tokens, or images that are held
with their channels last, matrix products over the last axis. A value of another kind, such as indices, or of very many
channels, has no neighbour; the operator then begins or ends its carrier, and its figure contains what entering or
leaving a model costs on that side, a few microseconds.
"""

from __future__ import annotations

from functools import lru_cache

from nascli.spaces.opaque_graphs import OpaqueGraph, OpaqueNode, TensorType, sample_shape
from nascli.spaces.operators.basic import conv_block
from nascli.spaces.primitives import Linear, Opaque, Shape
from nascli.spaces.programs import Builder, Program

_CHANNELS_FIRST = frozenset((
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "BatchNormalization", "Resize", "Pad",
    "GroupNormalization", "InstanceNormalization", "DepthToSpace", "SpaceToDepth",
))  # fmt: skip
_CHANNELS_LAST = frozenset(("MatMul", "LayerNormalization", "Gemm", "Softmax", "RMSNormalization"))
_OPSET = 13
# A neighbour has as many weights as channels squared. Where they were many more than those of any layer, there is none.
_MAX_CHANNELS = 4096


def neighbour_before(program: Program) -> Program | None:
    """Return what stands before a program; None if nothing can."""
    kind = program.input_type
    if kind is None:
        return pointwise(program.input) if program.input.channels <= _MAX_CHANNELS else None
    piece = next(n.primitive for n in program.nodes if 0 in n.inputs)
    assert isinstance(piece, Opaque)
    graph = piece.parsed
    return _neighbour(kind, graph, _reads_channels_last(graph))


def neighbour_behind(program: Program) -> Program | None:
    """Return what stands behind a program; None if nothing can."""
    piece = program.nodes[program.output - 1].primitive
    if isinstance(piece, Opaque):
        graph = piece.parsed
        return _neighbour(graph.type_of(graph.outputs[0]), graph, _gives_channels_last(graph))
    if program.output_shape.channels > _MAX_CHANNELS:
        return None
    if program.output in program.flat:
        return linear(program.output_shape)
    return pointwise(program.output_shape)


@lru_cache(maxsize=4096)
def pointwise(shape: Shape) -> Program:
    """Return a pointwise convolution that keeps the number of channels."""
    return conv_block(shape, shape.channels, kernel=1, act="none").program


@lru_cache(maxsize=4096)
def linear(shape: Shape) -> Program:
    """Return a linear layer that keeps the number of features."""
    builder = Builder(shape)
    return builder.build(builder.append(Linear(shape.channels), (0,)))


def _neighbour(kind: TensorType, graph: OpaqueGraph, is_channels_last: bool) -> Program | None:
    if not kind.element.startswith("float") or len(kind.dims) < 2 or kind.dims[0] % graph.batch:
        return None
    channels_first = kind.is_vector or (kind.is_image and not is_channels_last)
    if kind.dims[1 if channels_first else -1] > _MAX_CHANNELS:
        return None
    if kind.is_vector:
        return linear(Shape(kind.dims[1], 1, 1))
    if channels_first:
        return pointwise(Shape(*kind.dims[1:]))
    return product_over_last_axis(kind, graph.batch, dict(graph.opset).get("", _OPSET))


@lru_cache(maxsize=4096)
def product_over_last_axis(kind: TensorType, batch: int, opset: int) -> Program:
    """Return a matrix product with a bias over the last axis of a value, which keeps its size."""
    features = kind.dims[-1]
    graph = OpaqueGraph(
        batch=batch,
        opset=(("", opset),),
        inputs=(kind,),
        weights=(TensorType(kind.element, (features, features)), TensorType(kind.element, (features,))),
        constants=(),
        nodes=(OpaqueNode("MatMul", "", (0, 1), (kind,)), OpaqueNode("Add", "", (3, 2), (kind,))),
        outputs=(4,),
    )
    builder = Builder(Shape(*sample_shape(kind, batch)))
    return builder.build(builder.append(Opaque(graph.text), (0,)))


def _reads_channels_last(graph: OpaqueGraph) -> bool:
    """Return whether the nodes that read the first input treat its last axis as channels."""
    values = {0}
    for node, outputs in graph.walk():
        if values & set(node.inputs):
            if node.op in _CHANNELS_FIRST:
                return False
            if node.op in _CHANNELS_LAST:
                return True
            if node.op == "Transpose":
                # Channels that are moved to the end were not there before.
                return int(node.attribute("perm", (0,))[-1]) == len(graph.inputs[0].dims) - 1
            values.update(outputs)
    return False


def _gives_channels_last(graph: OpaqueGraph) -> bool:
    """Return whether the nodes that compute the first output treat its last axis as channels."""
    values = {graph.outputs[0]}
    for node, outputs in reversed(list(graph.walk())):
        if values & set(outputs):
            if node.op in _CHANNELS_FIRST:
                return False
            if node.op in _CHANNELS_LAST:
                return True
            if node.op == "Transpose":
                # Channels that were moved away from the second place are behind the others now.
                return list(node.attribute("perm", ()))[1:2] != [3]
            values.update(value for value in node.inputs if graph.is_computed(value))
    return False
