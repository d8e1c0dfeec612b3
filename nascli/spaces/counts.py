"""Counts of a program in closed form: MACs, parameters, bytes, and BitOps, as exact integers.

One multiply-accumulate of a convolution, a fully connected layer, or a matrix product of attention is one MAC.
Normalisation, activations, pooling, resampling, and element-wise functions count zero, as in the tables of the
literature.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nascli.spaces.opaque_counts import OpaqueCounts, opaque_counts
from nascli.spaces.primitives import (
    Attention,
    BatchNorm,
    ChannelBias,
    ChannelScale,
    Conv,
    ConvTranspose,
    Dense,
    GroupNorm,
    LayerNorm,
    Linear,
    Opaque,
    PRelu,
    Shape,
)
from nascli.spaces.programs import Node, Program

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Counts:
    """The counts of one program for one sample.

    Attributes:
        macs: Multiply-accumulates of convolutions, fully connected layers, and both products of attention.
        params: Trainable parameters, including scale and shift of normalisation.
        weights: Weights of convolutions and fully connected layers, without biases and normalisation.
        weight_bytes: Bytes of the deployed parameters: fp32, with batch normalisation folded into a bias.
        moved_bytes: Bytes that the primitives read and write: batch 1, fp32, with fused activations.
        peak_bytes: Maximum number of bytes of activations that exist at the same time: batch 1, fp32.
        bitops: MACs x weight bits x activation bits, summed over low-bit convolutions.
    """

    macs: int
    params: int
    weights: int
    weight_bytes: int
    moved_bytes: int
    peak_bytes: int
    bitops: int

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of two programs that run one after the other."""
        return Counts(
            self.macs + other.macs,
            self.params + other.params,
            self.weights + other.weights,
            self.weight_bytes + other.weight_bytes,
            self.moved_bytes + other.moved_bytes,
            max(self.peak_bytes, other.peak_bytes),
            self.bitops + other.bitops,
        )


ZERO = Counts(0, 0, 0, 0, 0, 0, 0)


def _of_piece(node: Node) -> tuple[OpaqueCounts, int] | None:
    """Return the counts of a piece of ONNX for its whole batch, and the batch; None for other primitives."""
    if not isinstance(node.primitive, Opaque):
        return None
    return opaque_counts(node.primitive.graph), node.primitive.parsed.batch


def _per_sample(total: int, batch: int) -> int:
    return -(-total // batch)


def node_weights(node: Node, x: Shape) -> int:
    """Return the number of weights of one node, without biases and normalisation.

    Args:
        node: The node.
        x: Shape of its first input.
    """
    match node.primitive:
        case Opaque(graph=graph):
            return opaque_counts(graph).weights
        case (
            Conv(out=out, kernel=kernel, groups=groups) | ConvTranspose(out=out, kernel=kernel, groups=groups)
        ):
            return out * (x.channels // groups) * kernel[0] * kernel[1]
        case Linear(out=out) | Dense(out=out):
            return out * x.channels
        case _:
            return 0


def node_macs(node: Node, inputs: Sequence[Shape]) -> int:
    """Return the MACs of one node.

    Args:
        node: The node.
        inputs: Shapes of its inputs.
    """
    piece = _of_piece(node)
    if piece is not None:
        return _per_sample(piece[0].macs, piece[1])
    x, y = inputs[0], node.shape
    match node.primitive:
        case ConvTranspose():
            # Each input position is multiplied with the whole kernel.
            return node_weights(node, x) * x.height * x.width
        case Attention():
            # Each query with each key, and each weight with each value; all heads together have all channels.
            keys = inputs[1]
            return (x.channels + y.channels) * x.height * x.width * keys.height * keys.width
        case _:
            return node_weights(node, x) * y.height * y.width


def _params(node: Node, x: Shape) -> int:
    extra = 0
    match node.primitive:
        case Opaque(graph=graph):
            return opaque_counts(graph).params
        case Conv(out=out, norm=norm, bias=bias) | ConvTranspose(out=out, norm=norm, bias=bias):
            extra = 2 * out if norm else out if bias else 0
        case Linear(out=out, bias=bias) | Dense(out=out, bias=bias):
            extra = out if bias else 0
        case _:
            extra = _per_channel(node, x)
    return node_weights(node, x) + extra


def _per_channel(node: Node, x: Shape) -> int:
    """Return the number of parameters of what works on each channel by itself."""
    match node.primitive:
        case BatchNorm() | GroupNorm():
            return 2 * x.channels
        case LayerNorm(bias=bias):
            return (2 if bias else 1) * x.channels
        case ChannelScale() | ChannelBias():
            return x.channels
        case PRelu(shared=shared):
            return 1 if shared else x.channels
        case _:
            return 0


def _deployed(node: Node, x: Shape) -> int:
    """Return the number of deployed parameters, each of which has `FLOAT_BYTES`."""
    match node.primitive:
        case Opaque(graph=graph):
            return opaque_counts(graph).weight_bytes // FLOAT_BYTES
        case Conv(out=out) | ConvTranspose(out=out) | Linear(out=out):
            return node_weights(node, x) + out
        case _:
            return _params(node, x)


def _bitops(node: Node, inputs: Sequence[Shape]) -> int:
    conv = node.primitive
    if not isinstance(conv, Conv) or not conv.low_bit:
        return 0
    return node_macs(node, inputs) * conv.weight_bits * conv.activation_bits


def _moved(program: Program, node: Node) -> int:
    if node.primitive.kind in ("act", "split"):
        return 0
    piece = _of_piece(node)
    if piece is not None:
        return _per_sample(piece[0].moved_bytes, piece[1])
    elements = sum(program.shape_of(i).size for i in node.inputs) + node.shape.size
    return FLOAT_BYTES * (elements + _deployed(node, program.shape_of(node.inputs[0])))


def _peak(program: Program) -> int:
    last_use = {0: 0, program.output: len(program.nodes)}
    for position, node in enumerate(program.nodes):
        for value in node.inputs:
            last_use[value] = max(position, last_use.get(value, 0))
    alive = {0: program.input.size}
    peak = program.input.size
    for position, node in enumerate(program.nodes):
        alive[position + 1] = node.shape.size
        piece = _of_piece(node)
        inside = 0
        if piece is not None:
            ends = alive[node.inputs[0]] + node.shape.size
            inside = max(0, _per_sample(piece[0].peak_bytes, piece[1] * FLOAT_BYTES) - ends)
        peak = max(peak, sum(alive.values()) + inside)
        alive = {v: size for v, size in alive.items() if last_use.get(v, position) > position}
    return FLOAT_BYTES * peak


def count(program: Program) -> Counts:
    """Return the counts of a program for one sample, all of its copies together."""
    one = _count_once(program)
    if program.copies == 1:
        return one
    ends = FLOAT_BYTES * (program.input.size + program.output_shape.size)
    return replace(total([one] * program.copies), peak_bytes=one.peak_bytes + (program.copies - 1) * ends)


def _count_once(program: Program) -> Counts:
    known = [(node, [program.shape_of(i) for i in node.inputs]) for node in program.nodes]
    return Counts(
        macs=sum(node_macs(n, x) for n, x in known),
        params=sum(_params(n, x[0]) for n, x in known),
        weights=sum(node_weights(n, x[0]) for n, x in known),
        weight_bytes=FLOAT_BYTES * sum(_deployed(n, x[0]) for n, x in known),
        moved_bytes=sum(_moved(program, n) for n in program.nodes),
        peak_bytes=_peak(program),
        bitops=sum(_bitops(n, x) for n, x in known),
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Return the counts of programs that run one after the other."""
    result = ZERO
    for item in counts:
        result = result + item
    return result
