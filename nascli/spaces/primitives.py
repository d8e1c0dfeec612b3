"""The primitives that every operator is made of, and the small programs they form.

A `Program` is a list of nodes in evaluation order. Value 0 is the program's input and value ``i + 1`` is
the output of node ``i``. MACs, parameters, bytes, the ONNX graph, the torch module and the table key are
all read off this one description, so they cannot drift apart. Shapes leave the batch out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from nascli.errors import SpaceError

ACTIVATIONS = ("relu", "relu6", "hswish", "swish", "sigmoid", "hsigmoid")


class Shape(NamedTuple):
    """Channels, height and width of one sample; a vector has height and width 1."""

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
    """A convolution with 'same' padding: output height is ceil(height / stride).

    `norm` adds batch normalisation (folded where the network is deployed), `bias` a bias of its own.
    The bit widths only matter to BitOps and to low-bit training; 32 is plain float.
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
        """Whether weights or activations have fewer bits than plain floats."""
        return (self.weight_bits, self.activation_bits) != (32, 32)


@dataclass(frozen=True, slots=True)
class Act:
    """An element-wise activation."""

    kind: ClassVar[str] = "act"
    function: str


@dataclass(frozen=True, slots=True)
class Pool:
    """Maximum or average pooling with 'same' padding, which averages leave out."""

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
    """The sum of two or more values of one shape."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, slots=True)
class Scale:
    """Each channel of the first value multiplied by the second, a vector (squeeze and excitation)."""

    kind: ClassVar[str] = "scale"


@dataclass(frozen=True, slots=True)
class Gain:
    """A value times a constant (the mean over branches)."""

    kind: ClassVar[str] = "gain"
    factor: float


@dataclass(frozen=True, slots=True)
class Split:
    """The channels [start, stop) of a value."""

    kind: ClassVar[str] = "split"
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Concat:
    """Values joined along their channels."""

    kind: ClassVar[str] = "concat"


@dataclass(frozen=True, slots=True)
class Shuffle:
    """Channels interleaved across groups, as in ShuffleNet."""

    kind: ClassVar[str] = "shuffle"
    groups: int


@dataclass(frozen=True, slots=True)
class Linear:
    """A fully connected layer on a vector; only activations and further linear layers may follow."""

    kind: ClassVar[str] = "linear"
    out: int
    bias: bool = True


Primitive = Conv | Act | Pool | GlobalPool | Add | Scale | Gain | Split | Concat | Shuffle | Linear
PRIMITIVES: dict[str, type[Any]] = {
    cls.kind: cls for cls in (Conv, Act, Pool, GlobalPool, Add, Scale, Gain, Split, Concat, Shuffle, Linear)
}


def _halved(size: int, stride: int) -> int:
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
    return Shape(conv.out, _halved(x.height, conv.stride[0]), _halved(x.width, conv.stride[1]))


def infer_shape(primitive: Primitive, inputs: Sequence[Shape]) -> Shape:
    """The output shape of a primitive.

    Raises:
        SpaceError: when a rule of the primitive does not hold for these shapes.
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
            return Shape(x.channels, _halved(x.height, primitive.stride), _halved(x.width, primitive.stride))
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
