"""Blocks of self-attention over the positions of a value, and the blocks of transformers and ConvNeXt around it."""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.operators.definition import (
    Value,
    activation,
    add,
    attention,
    channel_scale,
    conv,
    dense,
    layer_norm,
)
from nascli.spaces.operators.registry import operator


def _channel_mlp(x: Value, hidden: int, out: int, act: str) -> Value:
    """Apply two fully connected layers on the channels of each position, with an activation between them."""
    return dense(activation(dense(x, hidden), act), out)


def _residual(x: Value, h: Value, scaled: bool) -> Value:
    return add(x, channel_scale(h) if scaled else h)


def _self_attention(x: Value, heads: int, head_dim: int, reduction: int = 1) -> Value:
    """Apply multi-head self-attention with queries, keys, values, and projection as layers on channels."""
    if min(heads, head_dim, reduction) < 1:
        raise SpaceError(
            f"heads, head_dim, and reduction must be at least 1, got {heads}, {head_dim}, and {reduction}"
        )
    inner = heads * head_dim
    source = x
    if reduction > 1:
        # Sizes that the reduction does not divide are rounded up.
        bottom, right = -x.shape.height % reduction, -x.shape.width % reduction
        source = conv(
            x,
            x.channels,
            reduction,
            stride=reduction,
            norm=False,
            bias=True,
            padding=(0, 0, bottom, right),
        )
        source = layer_norm(source)
    h = attention(dense(x, inner), dense(source, inner), dense(source, inner), heads=heads)
    return dense(h, x.channels)


@operator
def self_attention(x: Value, *, heads: int = 4, head_dim: int = 32, reduction: int = 1) -> Value:
    """Layer normalisation and multi-head self-attention over all positions, with a residual (Vaswani et al. 2017).

    Queries, keys, and values are fully connected layers on the channels of each position, and so is the projection
    behind the attention. A `reduction` above 1 shrinks height and width of keys and values by a strided convolution
    (Wang et al. 2021, PVT).
    """
    return add(x, _self_attention(layer_norm(x), heads, head_dim, reduction))


@operator
def channel_mlp(x: Value, *, expand: int = 4, act: str = "gelu") -> Value:
    """Layer normalisation and two fully connected layers on the channels of each position, with a residual."""
    if expand < 1:
        raise SpaceError(f"expand must be at least 1, got {expand}")
    return add(x, _channel_mlp(layer_norm(x), x.channels * expand, x.channels, act))


@operator
def transformer(
    x: Value,
    *,
    heads: int = 4,
    head_dim: int = 32,
    expand: int = 4,
    reduction: int = 1,
    act: str = "gelu",
    layer_scale: bool = False,
) -> Value:
    """A transformer block: self-attention and a channel MLP, each with layer normalisation and a residual.

    See `self_attention` for `heads`, `head_dim`, and `reduction`. With `layer_scale`, each residual branch ends in a
    learned factor per channel (Touvron et al. 2021).
    """
    if expand < 1:
        raise SpaceError(f"expand must be at least 1, got {expand}")
    h = _residual(x, _self_attention(layer_norm(x), heads, head_dim, reduction), layer_scale)
    return _residual(h, _channel_mlp(layer_norm(h), h.channels * expand, h.channels, act), layer_scale)


@operator
def convnext(
    x: Value,
    out: int,
    *,
    kernel: int = 7,
    expand: int = 4,
    stride: int = 1,
    act: str = "gelu",
    layer_scale: bool = True,
) -> Value:
    """A ConvNeXt block (Liu et al. 2022): depthwise convolution, layer normalisation, and channel MLP, with a residual.

    Where the stride is above 1 or the number of channels changes, layer normalisation and a strided convolution without
    overlap come first, as between the stages of ConvNeXt.
    """
    if expand < 1:
        raise SpaceError(f"expand must be at least 1, got {expand}")
    h = x
    if stride > 1 or out != x.channels:
        # Sizes that the stride does not divide are rounded up, as everywhere.
        bottom, right = -x.shape.height % stride, -x.shape.width % stride
        h = conv(
            layer_norm(x),
            out,
            stride,
            stride=stride,
            norm=False,
            bias=True,
            padding=(0, 0, bottom, right),
        )
    branch = conv(h, out, kernel, groups=out, norm=False, bias=True)
    return _residual(h, _channel_mlp(layer_norm(branch), out * expand, out, act), layer_scale)
