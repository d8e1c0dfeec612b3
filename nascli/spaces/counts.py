"""What a program costs on paper: MACs, parameters, bytes, BitOps. Closed form, exact integers.

One multiply-accumulate of a convolution or fully connected layer is one MAC; batch normalisation,
activations, pooling and additions count zero, as in the literature's tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from nascli.spaces.primitives import Conv, Linear, Shape
from nascli.spaces.programs import Node, Program

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Counts:
    """The counts of one program for one sample.

    Attributes:
        macs: multiply-accumulates of convolutions and fully connected layers.
        params: trainable parameters, batch normalisation's scale and shift included.
        weights: weights of convolutions and fully connected layers alone (no BN, no biases).
        weight_bytes: parameters as deployed, BN folded into a bias, 4 bytes each.
        moved_bytes: bytes read and written by the primitives, activations fused away, batch 1, fp32.
        peak_bytes: the most bytes of activations alive at once, batch 1, fp32.
        bitops: MACs x weight bits x activation bits over convolutions with declared bit widths.
    """

    macs: int
    params: int
    weights: int
    weight_bytes: int
    moved_bytes: int
    peak_bytes: int
    bitops: int

    def __add__(self, other: Counts) -> Counts:
        """Counts of two programs run one after the other."""
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


def _weights(node: Node, x: Shape) -> int:
    match node.primitive:
        case Conv(out=out, kernel=kernel, groups=groups):
            return out * (x.channels // groups) * kernel[0] * kernel[1]
        case Linear(out=out):
            return out * x.channels
        case _:
            return 0


def node_macs(node: Node, x: Shape) -> int:
    """MACs of one node on an input of shape `x`."""
    weights = _weights(node, x)
    return weights * node.shape.height * node.shape.width


def _params(node: Node, x: Shape) -> int:
    extra = 0
    match node.primitive:
        case Conv(out=out, norm=norm, bias=bias):
            extra = 2 * out if norm else out if bias else 0
        case Linear(out=out, bias=bias):
            extra = out if bias else 0
        case _:
            pass
    return _weights(node, x) + extra


def _deployed(node: Node, x: Shape) -> int:
    match node.primitive:
        case Conv(out=out) | Linear(out=out):
            return _weights(node, x) + out
        case _:
            return 0


def _bitops(node: Node, x: Shape) -> int:
    conv = node.primitive
    if not isinstance(conv, Conv) or not conv.low_bit:
        return 0
    return node_macs(node, x) * conv.weight_bits * conv.activation_bits


def _moved(program: Program, node: Node) -> int:
    if node.primitive.kind in ("act", "split"):
        return 0
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
        peak = max(peak, sum(alive.values()))
        alive = {v: size for v, size in alive.items() if last_use.get(v, position) > position}
    return FLOAT_BYTES * peak


def count(program: Program) -> Counts:
    """All counts of a program, for one sample (batch 1)."""
    pairs = [(node, program.shape_of(node.inputs[0])) for node in program.nodes]
    return Counts(
        macs=sum(node_macs(n, x) for n, x in pairs),
        params=sum(_params(n, x) for n, x in pairs),
        weights=sum(_weights(n, x) for n, x in pairs),
        weight_bytes=FLOAT_BYTES * sum(_deployed(n, x) for n, x in pairs),
        moved_bytes=sum(_moved(program, n) for n in program.nodes),
        peak_bytes=_peak(program),
        bitops=sum(_bitops(n, x) for n, x in pairs),
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Counts of programs run one after the other."""
    result = ZERO
    for item in counts:
        result = result + item
    return result
