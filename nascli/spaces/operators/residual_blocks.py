"""Residual blocks of ResNet, with bit widths for mixed precision, and of RegNet."""

from __future__ import annotations

from functools import partial

from nascli.errors import SpaceError
from nascli.spaces.operators.basic import squeeze_excite
from nascli.spaces.operators.definition import Value, activation, add, conv, pool
from nascli.spaces.operators.registry import operator


def _shortcut(x: Value, h: Value, stride: int, weight_bits: int = 32, activation_bits: int = 32) -> Value:
    if x.shape == h.shape:
        return x
    return conv(x, h.channels, 1, stride=stride, weight_bits=weight_bits, activation_bits=activation_bits)


@operator
def basic_block(
    x: Value,
    out: int,
    *,
    stride: int = 1,
    width: float = 1.0,
    weight_bits: int = 32,
    activation_bits: int = 32,
    act: str = "relu",
) -> Value:
    """Two 3x3 convolutions with a residual, which is a 1x1 projection where the shape changes (He et al. 2016).

    `width` multiplies the channels between the two convolutions (the bottleneck channels of SPOS). All convolutions
    of the block have the same bit widths.
    """
    middle = round(out * width)
    if middle < 1:
        raise SpaceError(f"out x width must be at least 1, got {out} x {width}")
    convolve = partial(conv, weight_bits=weight_bits, activation_bits=activation_bits)
    h = convolve(x, middle, 3, stride=stride, act=act)
    h = convolve(h, out, 3)
    return activation(add(_shortcut(x, h, stride, weight_bits, activation_bits), h), act)


@operator
def bottleneck_block(x: Value, out: int, *, stride: int = 1, act: str = "relu") -> Value:
    """1x1 to a quarter of the channels, strided 3x3, and 1x1, with a residual (He et al. 2016)."""
    h = conv(x, max(1, out // 4), 1, act=act)
    h = conv(h, h.channels, 3, stride=stride, act=act)
    h = conv(h, out, 1)
    return activation(add(_shortcut(x, h, stride), h), act)


@operator
def regnet_block(
    x: Value, out: int, *, stride: int = 1, group_width: int = 8, se: bool = False, act: str = "relu"
) -> Value:
    """1x1, strided grouped 3x3, and 1x1 of one width, with a residual (Radosavovic et al. 2020)."""
    if group_width < 1 or out % group_width:
        raise SpaceError(f"group_width must divide out, got {group_width} and {out}")
    h = conv(x, out, 1, act=act)
    h = conv(h, out, 3, stride=stride, groups=out // group_width, act=act)
    if se:
        h = squeeze_excite(h, max(1, x.channels // 4))
    h = conv(h, out, 1)
    return activation(add(_shortcut(x, h, stride), h), act)


@operator
def resnet_stem(x: Value, out: int, *, act: str = "relu") -> Value:
    """7x7 convolution of stride 2 and maximum pooling of stride 2."""
    return pool(conv(x, out, 7, stride=2, act=act), "max", 3, stride=2)
