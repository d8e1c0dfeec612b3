"""How operators are written: as functions that append primitives to a value.

    @operator
    def mbconv(x, out, *, kernel=3, expand=6, stride=1, act="relu6"):
        h = conv(x, x.channels * expand, 1, act=act) if expand > 1 else x
        ...

Called with a `Shape` and arguments, the decorated function returns an `Operator`, which is frozen data.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from nascli.errors import SpaceError
from nascli.spaces import primitives as p
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Builder, Program

Argument = int | float | str | bool | tuple[int, ...]
Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Value:
    """A tensor inside the function of an operator.

    Attributes:
        builder: The program under construction.
        index: Index of the tensor among the values of the program.
    """

    builder: Builder
    index: int

    @property
    def shape(self) -> Shape:
        """Channels, height, and width."""
        return self.builder.shape_of(self.index)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.shape.channels


def _apply(primitive: p.Primitive, *values: Value) -> Value:
    builder = values[0].builder
    return Value(builder, builder.append(primitive, tuple(v.index for v in values)))


def _pair(value: Pair) -> tuple[int, int]:
    both = (value, value) if isinstance(value, int) else value
    if not (
        isinstance(both, tuple | list) and len(both) == 2 and all(isinstance(size, int) for size in both)
    ):
        raise SpaceError(f"a size is an integer or a pair of them, got {value!r}")
    return both[0], both[1]


def conv(
    x: Value,
    out: int,
    kernel: Pair,
    *,
    stride: Pair = 1,
    dilation: Pair = 1,
    groups: int = 1,
    act: str | None = None,
    norm: bool = True,
    bias: bool = False,
    weight_bits: int = 32,
    activation_bits: int = 32,
    padding: p.Padding | None = None,
) -> Value:
    """Apply a convolution with batch normalisation, and an activation if `act` names one; see `primitives.Conv`."""
    h = _apply(
        p.Conv(
            out,
            _pair(kernel),
            _pair(stride),
            _pair(dilation),
            groups,
            norm,
            bias,
            weight_bits,
            activation_bits,
            padding,
        ),
        x,
    )
    return h if act is None else activation(h, act)


def activation(x: Value, function: str, *parameters: float) -> Value:
    """Apply an element-wise activation by name, with its parameters if it has any; see `primitives.ACTIVATIONS`."""
    return _apply(p.Act(function, parameters), x)


def conv_transpose(
    x: Value,
    out: int,
    kernel: Pair,
    *,
    stride: Pair = 1,
    padding: p.Padding = (0, 0, 0, 0),
    output_padding: Pair = 0,
    groups: int = 1,
    act: str | None = None,
    norm: bool = True,
    bias: bool = False,
) -> Value:
    """Apply a transposed convolution with batch normalisation; see `primitives.ConvTranspose`."""
    primitive = p.ConvTranspose(
        out,
        _pair(kernel),
        _pair(stride),
        padding,
        _pair(output_padding),
        groups=groups,
        norm=norm,
        bias=bias,
    )
    h = _apply(primitive, x)
    return h if act is None else activation(h, act)


def pool(
    x: Value,
    mode: str,
    kernel: Pair,
    *,
    stride: Pair = 1,
    padding: p.Padding | None = None,
    count_padding: bool = False,
) -> Value:
    """Apply maximum ('max') or average ('avg') pooling; see `primitives.Pool`."""
    return _apply(p.Pool(mode, kernel, stride, padding, count_padding), x)


def global_pool(x: Value) -> Value:
    """Return the mean over height and width, a vector."""
    return _apply(p.GlobalPool(), x)


def add(*values: Value) -> Value:
    """Return the sum of values of the same shape."""
    return _apply(p.Add(), *values) if len(values) > 1 else values[0]


def scale(x: Value, gate: Value) -> Value:
    """Multiply each channel of `x` by an entry of the vector `gate`."""
    return _apply(p.Scale(), x, gate)


def gain(x: Value, factor: float) -> Value:
    """Multiply `x` by a constant."""
    return x if factor == 1.0 else _apply(p.Gain(factor), x)


def shift(x: Value, amount: float) -> Value:
    """Add a constant to `x`."""
    return x if amount == 0.0 else _apply(p.Shift(amount), x)


def sub(x: Value, other: Value) -> Value:
    """Subtract `other` from `x`; sizes of 1 are repeated."""
    return _apply(p.Binary("sub"), x, other)


def mul(x: Value, other: Value) -> Value:
    """Multiply two values element by element; sizes of 1 are repeated."""
    return _apply(p.Binary("mul"), x, other)


def div(x: Value, other: Value) -> Value:
    """Divide `x` by `other` element by element; sizes of 1 are repeated."""
    return _apply(p.Binary("div"), x, other)


def batch_norm(x: Value) -> Value:
    """Apply batch normalisation that does not follow a convolution."""
    return _apply(p.BatchNorm(), x)


def layer_norm(x: Value, *, epsilon: float = 1e-6, bias: bool = True) -> Value:
    """Apply layer normalisation over the channels of each position."""
    return _apply(p.LayerNorm(epsilon, bias), x)


def group_norm(x: Value, groups: int, *, epsilon: float = 1e-5) -> Value:
    """Apply normalisation over groups of channels."""
    return _apply(p.GroupNorm(groups, epsilon), x)


def channel_scale(x: Value) -> Value:
    """Multiply each channel by a learned factor (layer scale)."""
    return _apply(p.ChannelScale(), x)


def channel_bias(x: Value) -> Value:
    """Add a learned number to each channel."""
    return _apply(p.ChannelBias(), x)


def prelu(x: Value, *, shared: bool = False) -> Value:
    """Apply a rectifier with learned slopes."""
    return _apply(p.PRelu(shared), x)


def dense(x: Value, out: int, *, bias: bool = True) -> Value:
    """Apply a fully connected layer to the channels of each position."""
    return _apply(p.Dense(out, bias), x)


def attention(queries: Value, keys: Value, values: Value, *, heads: int) -> Value:
    """Apply multi-head attention between positions; see `primitives.Attention`."""
    return _apply(p.Attention(heads), queries, keys, values)


def pad(x: Value, padding: p.Padding) -> Value:
    """Add rows and columns of zeros at the top, left, bottom, and right."""
    return _apply(p.Pad(padding), x)


def pixel_shuffle(x: Value, factor: int) -> Value:
    """Move channels to positions, so that height and width grow by `factor`."""
    return _apply(p.PixelShuffle(factor), x)


def pixel_unshuffle(x: Value, factor: int) -> Value:
    """Move positions to channels, so that height and width shrink by `factor`."""
    return _apply(p.PixelUnshuffle(factor), x)


def resize(x: Value, height: int, width: int, *, mode: str = "nearest", align_corners: bool = False) -> Value:
    """Resample `x` to a height and width; see `primitives.Resize`."""
    return _apply(p.Resize(height, width, mode, align_corners), x)


def split(x: Value, sizes: Sequence[int]) -> list[Value]:
    """Return consecutive parts of the channels of `x`, of the given sizes.

    Raises:
        SpaceError: The sizes do not add up to the number of channels.
    """
    if sum(sizes) != x.channels:
        raise SpaceError(f"split sizes must add up to the channels, got {list(sizes)} for {x.channels}")
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [_apply(p.Split(start, start + size), x) for start, size in zip(starts, sizes, strict=True)]


def concat(*values: Value) -> Value:
    """Concatenate values along their channels."""
    return _apply(p.Concat(), *values)


def shuffle(x: Value, groups: int) -> Value:
    """Interleave the channels of `x` across groups."""
    return _apply(p.Shuffle(groups), x)


def linear(x: Value, out: int, *, bias: bool = True) -> Value:
    """Apply a fully connected layer to a vector."""
    return _apply(p.Linear(out, bias), x)


@dataclass(frozen=True)
class Operator:
    """An operator at one input shape.

    Attributes:
        family: Name of the operator family.
        arguments: Name and value of the arguments that tell operators of the family apart.
        program: What the operator computes.
    """

    family: str
    arguments: tuple[tuple[str, Argument], ...]
    program: Program

    @property
    def input(self) -> Shape:
        """Shape of the input."""
        return self.program.input

    @property
    def output(self) -> Shape:
        """Shape of the output."""
        return self.program.output_shape

    @cached_property
    def short(self) -> str:
        """Description without shapes, such as ``mbconv kernel=5 expand=6``."""
        arguments = [f"{k}={_compact(v)}" for k, v in self.arguments if k not in ("out", "stride")]
        return " ".join([self.family, *arguments])

    @property
    def label(self) -> str:
        """Description with shapes, such as ``mbconv kernel=5 expand=6 16x32x32>32x16x16``."""
        return f"{self.short} {self.input}>{self.output}"


def _compact(value: Argument) -> str:
    return "x".join(str(v) for v in value) if isinstance(value, tuple) else str(value)


class OperatorFamily:
    """A decorated function that returns an `Operator` when it is called with a shape and arguments."""

    def __init__(self, function: Callable[..., Value]) -> None:
        self.name = function.__name__
        self.function = function
        self.signature = inspect.signature(function)
        self.__doc__ = function.__doc__
        self._build = lru_cache(maxsize=16384)(self._trace)

    def __call__(self, shape: Shape | Sequence[int], *args: Argument, **kwargs: Argument) -> Operator:
        """Return the operator of this family at an input shape.

        Args:
            shape: Channels, height, and width of the input.
            *args: Arguments of the function, without the value.
            **kwargs: Arguments of the function by name.

        Raises:
            SpaceError: Arguments do not fit the function, or break a rule. The message names the operator, its
                arguments, and the rule.
        """
        try:
            bound = self.signature.bind(None, *args, **kwargs)
        except TypeError as error:
            raise SpaceError(f"operator {self.name}: {error}; it takes {self._parameters()}") from error
        bound.apply_defaults()
        arguments = tuple((k, v) for k, v in list(bound.arguments.items())[1:] if self._is_mentioned(k, v))
        return self._build(Shape(*shape), arguments)

    def _parameters(self) -> str:
        return ", ".join(str(parameter) for parameter in list(self.signature.parameters.values())[1:])

    def _is_mentioned(self, name: str, value: Argument) -> bool:
        # Defaults are left out, except for integers above 1: a kernel of 3 is worth reading.
        return value != self.signature.parameters[name].default or (type(value) is int and value > 1)

    def _trace(self, shape: Shape, arguments: tuple[tuple[str, Argument], ...]) -> Operator:
        builder = Builder(shape)
        try:
            result = self.function(Value(builder, 0), **dict(arguments))
        except SpaceError as error:
            listing = ", ".join(f"{k}={v}" for k, v in arguments)
            raise SpaceError(f"operator {self.name}({listing}) on {shape}: {error.message}") from error
        return Operator(self.name, arguments, builder.build(result.index))
