"""Shapes, and the primitives that every operator consists of. Shapes do not include the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from nascli.errors import SpaceError
from nascli.spaces.opaque_graphs import OpaqueGraph, sample_shape

ACTIVATIONS = ("relu", "relu6", "hswish", "swish", "sigmoid", "hsigmoid")


class Shape(NamedTuple):
    """Channels, height, and width of one sample. A vector has height and width 1."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution with 'same' padding, so that the output height is ceil(height / stride).

    Attributes:
        out: Number of output channels.
        kernel: Height and width of the kernel, both odd.
        stride: Stride along height and width.
        dilation: Dilation along height and width.
        groups: Number of groups, which divides the input channels and the output channels.
        norm: Whether batch normalisation follows. It is folded into the convolution where a network is deployed.
        bias: Whether the convolution has a bias of its own, which excludes `norm`.
        weight_bits: Bit width of weights, for BitOps and low-bit training; 32 is floating point.
        activation_bits: Bit width of the input, for BitOps and low-bit training; 32 is floating point.
    """

    kind: ClassVar[str] = "conv"
    out: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    norm: bool = True
    bias: bool = False
    weight_bits: int = 32
    activation_bits: int = 32

    @property
    def low_bit(self) -> bool:
        """Whether weights or activations have fewer than 32 bits."""
        return (self.weight_bits, self.activation_bits) != (32, 32)


@dataclass(frozen=True, slots=True)
class Act:
    """An element-wise activation; `function` is one of `ACTIVATIONS`."""

    kind: ClassVar[str] = "act"
    function: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum ('max') or average ('avg') pooling with 'same' padding. Averages do not count the padding."""

    kind: ClassVar[str] = "pool"
    mode: str
    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over height and width."""

    kind: ClassVar[str] = "global_pool"


@dataclass(frozen=True, slots=True)
class Add:
    """The sum of two or more values of the same shape."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, slots=True)
class Scale:
    """The first value with each channel multiplied by an entry of the second, a vector (squeeze and excitation)."""

    kind: ClassVar[str] = "scale"


@dataclass(frozen=True, slots=True)
class Gain:
    """A value multiplied by a constant (for the mean over branches)."""

    kind: ClassVar[str] = "gain"
    factor: float


@dataclass(frozen=True, slots=True)
class Split:
    """The channels from `start` up to but not including `stop`."""

    kind: ClassVar[str] = "split"
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Concat:
    """Values concatenated along their channels."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True, slots=True)
class Shuffle:
    """A value with its channels interleaved across groups (ShuffleNet)."""

    kind: ClassVar[str] = "shuffle"
    groups: int


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer on a vector. Only activations and further linear layers may follow."""

    kind: ClassVar[str] = "linear"
    out: int
    bias: bool = True


@dataclass(frozen=True, slots=True)
class Opaque:
    """A piece of ONNX that no primitive describes. It is measured and counted, but has no torch module.

    Attributes:
        graph: The canonical text of an `OpaqueGraph`.
    """

    kind: ClassVar[str] = "onnx"
    graph: str

    @property
    def parsed(self) -> OpaqueGraph:
        """The piece.

        Raises:
            SpaceError: `graph` is not the text of a piece.
        """
        return OpaqueGraph.parse(self.graph)


Primitive = Conv | Act | Pool | GlobalPool | Add | Scale | Gain | Split | Concat | Shuffle | Linear | Opaque
PRIMITIVES: dict[str, type[Any]] = {
    cls.kind: cls
    for cls in (Conv, Act, Pool, GlobalPool, Add, Scale, Gain, Split, Concat, Shuffle, Linear, Opaque)
}


def _strided(size: int, stride: int) -> int:
    return -(-size // stride)


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise SpaceError(rule)


def _conv_shape(conv: Conv, x: Shape) -> Shape:
    _require(conv.out >= 1, f"a convolution needs at least one output channel, got {conv.out}")
    for name in ("kernel", "stride", "dilation"):
        values = getattr(conv, name)
        _require(min(values) >= 1, f"a convolution's {name} must be at least 1, got {values}")
    _require(
        all(k % 2 == 1 for k in conv.kernel),
        f"kernels are odd so that padding is symmetric, got {conv.kernel}",
    )
    _require(
        conv.groups >= 1 and x.channels % conv.groups == 0 and conv.out % conv.groups == 0,
        f"groups must divide the channels, got groups={conv.groups}, in={x.channels}, out={conv.out}",
    )
    _require(not (conv.norm and conv.bias), "a normalised convolution has no bias of its own")
    return Shape(conv.out, _strided(x.height, conv.stride[0]), _strided(x.width, conv.stride[1]))


def _opaque_shape(graph: OpaqueGraph, x: Shape) -> Shape:
    wanted = Shape(*sample_shape(graph.inputs[0], graph.batch))
    _require(wanted == x, f"this piece of ONNX takes {graph.inputs[0]}, which is {wanted}, got {x}")
    return Shape(*sample_shape(graph.type_of(graph.outputs[0]), graph.batch))


def infer_shape(primitive: Primitive, inputs: Sequence[Shape]) -> Shape:
    """Return the output shape of a primitive.

    Args:
        primitive: The primitive.
        inputs: Shapes of its inputs.

    Raises:
        SpaceError: The number of inputs is wrong, or the shapes or attributes break a rule of the primitive.
    """
    binary = isinstance(primitive, (Add, Concat))
    count = 2 if isinstance(primitive, Scale) else 1
    _require(
        len(inputs) >= 1 if binary else len(inputs) == count,
        f"{primitive.kind} takes {'at least one' if binary else count} input(s), got {len(inputs)}",
    )
    x = inputs[0]
    match primitive:
        case Conv():
            return _conv_shape(primitive, x)
        case Act():
            known = ", ".join(ACTIVATIONS)
            _require(
                primitive.function in ACTIVATIONS,
                f"unknown activation {primitive.function!r}; known are {known}",
            )
            return x
        case Pool():
            _require(primitive.mode in ("max", "avg"), f"pooling is 'max' or 'avg', got {primitive.mode!r}")
            _require(primitive.kernel % 2 == 1, f"kernels are odd, got {primitive.kernel}")
            _require(primitive.stride >= 1, f"a stride is at least 1, got {primitive.stride}")
            return Shape(
                x.channels, _strided(x.height, primitive.stride), _strided(x.width, primitive.stride)
            )
        case GlobalPool():
            return Shape(x.channels, 1, 1)
        case Add():
            for other in inputs[1:]:
                _require(other == x, f"add needs equal shapes, got {x} and {other}")
            return x
        case Scale():
            gate = inputs[1]
            _require(
                gate == Shape(x.channels, 1, 1),
                f"scale needs a gate of {x.channels} channels, got {gate}",
            )
            return x
        case Gain():
            return x
        case Split():
            _require(
                0 <= primitive.start < primitive.stop <= x.channels,
                f"0 <= start < stop <= channels must hold, got start={primitive.start}, "
                f"stop={primitive.stop}, channels={x.channels}",
            )
            return Shape(primitive.stop - primitive.start, x.height, x.width)
        case Concat():
            for other in inputs[1:]:
                _require(other[1:] == x[1:], f"concat needs equal height and width, got {x} and {other}")
            return Shape(sum(value.channels for value in inputs), x.height, x.width)
        case Shuffle():
            _require(
                primitive.groups >= 1 and x.channels % primitive.groups == 0,
                f"shuffle needs groups that divide the channels, got {primitive.groups} and {x.channels}",
            )
            return x
        case Linear():
            _require(x.height == x.width == 1, f"linear needs a vector, got {x}")
            _require(primitive.out >= 1, f"linear needs at least one output, got {primitive.out}")
            return Shape(primitive.out, 1, 1)
        case Opaque():
            return _opaque_shape(primitive.parsed, x)
