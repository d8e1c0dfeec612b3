"""What the primitives without parameters compute, in torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.errors import SpaceError
from nascli.spaces.primitives import (
    Act,
    Add,
    Attention,
    Binary,
    Concat,
    Gain,
    GlobalPool,
    Pad,
    Padding,
    PixelShuffle,
    PixelUnshuffle,
    Pool,
    Resize,
    Scale,
    Shift,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Node

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hswish": F.hardswish,
    "swish": F.silu,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "selu": F.selu,
    "mish": F.mish,
    "softplus": F.softplus,
    "tanh": torch.tanh,
}
_BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
}


def compute_without_parameters(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Compute a primitive that has no parameters.

    Args:
        node: The node of the primitive.
        inputs: Its inputs, `(batch, channels, height, width)` each.

    Raises:
        SpaceError: The primitive has no torch form.
    """
    x = inputs[0]
    match node.primitive:
        case Act() as act:
            return _activate(act, x)
        case Pool() as pool:
            return _pool(pool, x)
        case GlobalPool():
            return x.mean((2, 3), keepdim=True)
        case Add():
            total = x
            for other in inputs[1:]:
                total = total + other
            return total
        case Scale():
            return x * inputs[1]
        case Binary(function=function):
            return _BINARY[function](x, inputs[1])
        case Gain(factor=factor):
            return x * factor
        case Shift(amount=amount):
            return x + amount
        case Attention(heads=heads):
            return attend(*inputs, heads=heads)
        case _:
            return _move(node, inputs)


def _move(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """Compute a primitive that only moves elements, or resamples them."""
    x = inputs[0]
    match node.primitive:
        case Split(start=start, stop=stop):
            return x[:, start:stop]
        case Concat():
            return torch.cat(list(inputs), dim=1)
        case Shuffle(groups=groups):
            return F.channel_shuffle(x, groups)
        case Pad(padding=padding):
            return padded(x, padding)
        case PixelShuffle(factor=factor, blocks_first=blocks_first):
            if not blocks_first:
                return F.pixel_shuffle(x, factor)
            batch, _, height, width = x.shape
            apart = x.reshape(batch, factor, factor, -1, height, width).permute(0, 3, 4, 1, 5, 2)
            return apart.flatten(4, 5).flatten(2, 3)
        case PixelUnshuffle(factor=factor, blocks_first=blocks_first):
            if not blocks_first:
                return F.pixel_unshuffle(x, factor)
            batch, channels, height, width = x.shape
            apart = x.reshape(batch, channels, height // factor, factor, width // factor, factor)
            return apart.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)
        case Resize() as resize:
            size = (resize.height, resize.width)
            corners = resize.align_corners if resize.mode == "bilinear" else None
            return F.interpolate(x, size, mode=resize.mode, align_corners=corners)
        case other:
            raise SpaceError(f"the primitive {other.kind} has no torch form.")


def padded(x: Tensor, padding: Padding, value: float = 0.0) -> Tensor:
    """Return `(batch, channels, height, width)` with rows and columns at the top, left, bottom, and right."""
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def attend(queries: Tensor, keys: Tensor, values: Tensor, *, heads: int) -> Tensor:
    """Return multi-head attention between positions; see `primitives.Attention`.

    Args:
        queries: `(batch, heads * d, height, width)`.
        keys: `(batch, heads * d, height', width')`.
        values: `(batch, heads * e, height', width')`.
        heads: Number of heads.

    Returns:
        `(batch, heads * e, height, width)`.
    """
    batch, _, height, width = queries.shape
    q, k, v = (value.reshape(batch, heads, value.shape[1] // heads, -1) for value in (queries, keys, values))
    scores = torch.matmul(q.transpose(-2, -1), k) * q.shape[2] ** -0.5
    h = torch.matmul(scores.softmax(dim=-1), v.transpose(-2, -1)).transpose(-2, -1)
    return h.reshape(batch, -1, height, width)


def _activate(act: Act, x: Tensor) -> Tensor:
    match act.function:
        case "hsigmoid" if act.parameters:
            slope, offset = act.parameters
            return (slope * x + offset).clamp(0, 1)
        case "hsigmoid":
            return F.hardsigmoid(x)
        case "leaky_relu":
            return F.leaky_relu(x, act.values[0])
        case "elu":
            return F.elu(x, act.values[0])
        case "gelu_tanh":
            return F.gelu(x, approximate="tanh")
        case "clip":
            return x.clamp(*act.values)
        case _:
            return _ACTIVATIONS[act.function](x)


def _pool(pool: Pool, x: Tensor) -> Tensor:
    window, strides = pool.window, pool.strides
    top, left, bottom, right = pool.pads
    # PyTorch pools with equal padding on both sides, of at most half a window.
    plain = (top, left) == (bottom, right) and all(
        2 * p <= k for p, k in zip((top, left), window, strict=True)
    )
    pads = (top, left) if plain else (0, 0)
    if pool.mode == "max":
        return F.max_pool2d(x if plain else padded(x, pool.pads, -math.inf), window, strides, pads)
    if plain:
        return F.avg_pool2d(x, window, strides, pads, count_include_pad=pool.count_padding)
    means = F.avg_pool2d(padded(x, pool.pads), window, strides)
    if pool.count_padding:
        return means
    return means / F.avg_pool2d(padded(torch.ones_like(x[:1, :1]), pool.pads), window, strides)
