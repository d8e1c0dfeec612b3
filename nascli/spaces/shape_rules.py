"""Shapes of what primitives compute, and the rules that their attributes and inputs must keep."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nascli.errors import SpaceError
from nascli.spaces.opaque_graphs import OpaqueGraph, sample_shape
from nascli.spaces.primitives import (
    ACTIVATIONS,
    BINARY_FUNCTIONS,
    Act,
    Add,
    Attention,
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    GlobalPool,
    GroupNorm,
    LayerNorm,
    Linear,
    Opaque,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pool,
    Primitive,
    Resize,
    Scale,
    Shape,
    Shift,
    Shuffle,
    Split,
)

_VARIADIC = (Add, Concat)
_INPUTS: dict[type[object], int] = {Scale: 2, Binary: 2, Attention: 3}


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise SpaceError(rule)


def infer_shape(primitive: Primitive, inputs: Sequence[Shape]) -> Shape:
    """Return the output shape of a primitive.

    Args:
        primitive: The primitive.
        inputs: Shapes of its inputs.

    Raises:
        SpaceError: The number of inputs is wrong, or the shapes or attributes break a rule of the primitive.
    """
    variadic = isinstance(primitive, _VARIADIC)
    count = _INPUTS.get(type(primitive), 1)
    _require(
        len(inputs) >= 1 if variadic else len(inputs) == count,
        f"{primitive.kind} takes {'at least one' if variadic else count} input(s), got {len(inputs)}",
    )
    x = inputs[0]
    match primitive:
        case Conv():
            return _conv_shape(primitive, x)
        case ConvTranspose():
            return _conv_transpose_shape(primitive, x)
        case Act():
            return _act_shape(primitive, x)
        case Pool():
            return _pool_shape(primitive, x)
        case GlobalPool():
            return Shape(x.channels, 1, 1)
        case Linear() | Dense():
            if isinstance(primitive, Linear):
                _require(x.height == x.width == 1, f"linear needs a vector, got {x}")
            _require(primitive.out >= 1, f"{primitive.kind} needs at least one output, got {primitive.out}")
            return Shape(primitive.out, x.height, x.width)
        case Add() | Scale() | Concat() | Binary() | Attention():
            return _joined_shape(primitive, inputs)
        case Split() | Shuffle() | Pad() | PixelShuffle() | PixelUnshuffle() | Resize():
            return _moved_shape(primitive, x)
        case LayerNorm() | GroupNorm():
            _require(
                0 <= primitive.epsilon < math.inf, f"epsilon must be at least 0, got {primitive.epsilon}"
            )
            groups = primitive.groups if isinstance(primitive, GroupNorm) else 1
            _require(
                groups >= 1 and x.channels % groups == 0,
                f"normalisation needs groups that divide the channels, got {groups} and {x.channels}",
            )
            return x
        case Opaque():
            return _opaque_shape(primitive.parsed, x)
        case Shift():
            _require(math.isfinite(primitive.amount), f"a shift must be finite, got {primitive.amount}")
            return x
        case _:
            # The rest works on each channel by itself.
            return x


def _opaque_shape(graph: OpaqueGraph, x: Shape) -> Shape:
    wanted = Shape(*sample_shape(graph.inputs[0], graph.batch))
    _require(wanted == x, f"this piece of ONNX takes {graph.inputs[0]}, which is {wanted}, got {x}")
    return Shape(*sample_shape(graph.type_of(graph.outputs[0]), graph.batch))


def _strided(size: int, stride: int) -> int:
    return -(-size // stride)


def _windows(size: int, kernel: int, stride: int, pads: int, dilation: int = 1) -> int:
    """Return the number of positions of a window along one axis."""
    return (size + pads - dilation * (kernel - 1) - 1) // stride + 1


def _check_padding(padding: Sequence[int]) -> None:
    _require(
        len(padding) == 4 and all(isinstance(size, int) and size >= 0 for size in padding),
        f"padding is four integers of at least 0 (top, left, bottom, right), got {padding}",
    )


def _conv_shape(conv: Conv, x: Shape) -> Shape:
    _require(conv.out >= 1, f"a convolution needs at least one output channel, got {conv.out}")
    for name in ("kernel", "stride", "dilation"):
        values = getattr(conv, name)
        _require(min(values) >= 1, f"a convolution's {name} must be at least 1, got {values}")
    _require(
        conv.padding is not None or all(k % 2 == 1 for k in conv.kernel),
        f"kernels are odd so that padding is symmetric, got {conv.kernel}; give the padding of others",
    )
    _require(
        conv.groups >= 1 and x.channels % conv.groups == 0 and conv.out % conv.groups == 0,
        f"groups must divide the channels, got groups={conv.groups}, in={x.channels}, out={conv.out}",
    )
    _require(not (conv.norm and conv.bias), "a normalised convolution has no bias of its own")
    if conv.padding is None:
        return Shape(conv.out, _strided(x.height, conv.stride[0]), _strided(x.width, conv.stride[1]))
    _check_padding(conv.padding)
    top, left, bottom, right = conv.padding
    height = _windows(x.height, conv.kernel[0], conv.stride[0], top + bottom, conv.dilation[0])
    width = _windows(x.width, conv.kernel[1], conv.stride[1], left + right, conv.dilation[1])
    _require(
        min(height, width) >= 1,
        f"a kernel must fit into the padded input, got {x}, kernel {conv.kernel}, padding {conv.padding}",
    )
    return Shape(conv.out, height, width)


def _conv_transpose_shape(conv: ConvTranspose, x: Shape) -> Shape:
    _require(conv.out >= 1, f"a convolution needs at least one output channel, got {conv.out}")
    for name in ("kernel", "stride", "dilation"):
        values = getattr(conv, name)
        _require(
            len(values) == 2 and min(values) >= 1,
            f"a convolution's {name} must be at least 1, got {values}",
        )
    _check_padding(conv.padding)
    _require(
        conv.groups >= 1 and x.channels % conv.groups == 0 and conv.out % conv.groups == 0,
        f"groups must divide the channels, got groups={conv.groups}, in={x.channels}, out={conv.out}",
    )
    _require(not (conv.norm and conv.bias), "a normalised convolution has no bias of its own")
    sizes = []
    for axis, size in enumerate((x.height, x.width)):
        stride, dilation, extra = conv.stride[axis], conv.dilation[axis], conv.output_padding[axis]
        _require(
            0 <= extra < max(stride, dilation),
            f"output padding must be 0 or more and less than the stride, got {extra} and {stride}",
        )
        cut = conv.padding[axis] + conv.padding[axis + 2]
        sizes.append((size - 1) * stride + dilation * (conv.kernel[axis] - 1) + 1 + extra - cut)
    _require(min(sizes) >= 1, f"padding must leave an output, got {conv.padding} for {x}")
    return Shape(conv.out, sizes[0], sizes[1])


def _act_shape(act: Act, x: Shape) -> Shape:
    known = ", ".join(ACTIVATIONS)
    _require(act.function in ACTIVATIONS, f"unknown activation {act.function!r}; known are {known}")
    names = ACTIVATIONS[act.function]
    _require(
        len(act.values) == len(names) and all(math.isfinite(value) for value in act.values),
        f"activation {act.function} takes finite values for {', '.join(names) or 'no parameters'}, got {act.values}",
    )
    if act.function == "clip":
        low, high = act.values
        _require(low <= high, f"clip needs a lower bound below the upper one, got {low} and {high}")
    return x


def _pool_shape(pool: Pool, x: Shape) -> Shape:
    _require(pool.mode in ("max", "avg"), f"pooling is 'max' or 'avg', got {pool.mode!r}")
    for sizes in (pool.window, pool.strides):
        _require(
            len(sizes) == 2 and all(isinstance(size, int) for size in sizes),
            f"a size is one integer or a pair of them, got {sizes}",
        )
    _require(
        pool.padding is not None or all(size % 2 == 1 for size in pool.window),
        f"kernels are odd, got {pool.kernel}; give the padding of others",
    )
    _require(min(pool.window) >= 1, f"a window is at least 1, got {pool.kernel}")
    _require(min(pool.strides) >= 1, f"a stride is at least 1, got {pool.stride}")
    _require(not (pool.count_padding and pool.mode == "max"), "only averages count the padding")
    if pool.padding is None:
        return Shape(x.channels, _strided(x.height, pool.strides[0]), _strided(x.width, pool.strides[1]))
    _check_padding(pool.padding)
    top, left, bottom, right = pool.padding
    _require(
        max(top, bottom) < pool.window[0] and max(left, right) < pool.window[1],
        f"padding must be smaller than the window, got {pool.padding} and {pool.window}",
    )
    height = _windows(x.height, pool.window[0], pool.strides[0], top + bottom)
    width = _windows(x.width, pool.window[1], pool.strides[1], left + right)
    _require(
        min(height, width) >= 1,
        f"a window must fit into the padded input, got {x}, window {pool.window}, padding {pool.padding}",
    )
    return Shape(x.channels, height, width)


def _joined_shape(primitive: Add | Scale | Concat | Binary | Attention, inputs: Sequence[Shape]) -> Shape:
    """Return the shape of what is computed from several values."""
    x = inputs[0]
    match primitive:
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
        case Concat():
            for other in inputs[1:]:
                _require(other[1:] == x[1:], f"concat needs equal height and width, got {x} and {other}")
            return Shape(sum(value.channels for value in inputs), x.height, x.width)
        case Binary():
            known = ", ".join(BINARY_FUNCTIONS)
            _require(
                primitive.function in BINARY_FUNCTIONS,
                f"unknown function of two values {primitive.function!r}; known are {known}",
            )
            other = inputs[1]
            _require(
                all(a == b or 1 in (a, b) for a, b in zip(x, other, strict=True)),
                f"{primitive.function} needs sizes that are equal or 1, got {x} and {other}",
            )
            return Shape(*(max(a, b) for a, b in zip(x, other, strict=True)))
        case Attention(heads=heads):
            keys, values = inputs[1:]
            _require(
                heads >= 1 and x.channels % heads == values.channels % heads == 0,
                f"heads must divide the channels, got {heads} for {x} and {values}",
            )
            _require(
                keys.channels == x.channels and keys[1:] == values[1:],
                "queries and keys need the same channels, and keys and values the same height and width, "
                f"got {x}, {keys}, and {values}",
            )
            return Shape(values.channels, x.height, x.width)


def _moved_shape(
    primitive: Split | Shuffle | Pad | PixelShuffle | PixelUnshuffle | Resize, x: Shape
) -> Shape:
    """Return the shape of what has the elements of one value at other places."""
    match primitive:
        case Split():
            _require(
                0 <= primitive.start < primitive.stop <= x.channels,
                f"0 <= start < stop <= channels must hold, got start={primitive.start}, "
                f"stop={primitive.stop}, channels={x.channels}",
            )
            return Shape(primitive.stop - primitive.start, x.height, x.width)
        case Shuffle():
            _require(
                primitive.groups >= 1 and x.channels % primitive.groups == 0,
                f"shuffle needs groups that divide the channels, got {primitive.groups} and {x.channels}",
            )
            return x
        case Pad():
            _check_padding(primitive.padding)
            top, left, bottom, right = primitive.padding
            return Shape(x.channels, x.height + top + bottom, x.width + left + right)
        case PixelShuffle(factor=factor):
            _require(
                factor >= 1 and x.channels % factor**2 == 0,
                f"pixel shuffle needs channels divisible by the factor squared, got {x.channels} and {factor}",
            )
            return Shape(x.channels // factor**2, x.height * factor, x.width * factor)
        case PixelUnshuffle(factor=factor):
            _require(
                factor >= 1 and x.height % factor == x.width % factor == 0,
                f"pixel unshuffle needs height and width divisible by the factor, got {x} and {factor}",
            )
            return Shape(x.channels * factor**2, x.height // factor, x.width // factor)
        case Resize(height=height, width=width):
            _require(min(height, width) >= 1, f"height and width are at least 1, got {height} and {width}")
            _require(
                primitive.mode in ("nearest", "bilinear"),
                f"resizing is 'nearest' or 'bilinear', got {primitive.mode!r}",
            )
            _require(
                primitive.mode == "bilinear" or not primitive.align_corners,
                "corners are aligned in bilinear mode only",
            )
            return Shape(x.channels, height, width)
