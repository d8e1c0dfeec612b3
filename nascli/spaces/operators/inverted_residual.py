"""Inverted residual blocks (Sandler et al. 2018), as ProxylessNAS, FBNet, and MnasNet use them."""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.operators.basic import squeeze_excite
from nascli.spaces.operators.definition import Value, activation, add, conv, shuffle
from nascli.spaces.operators.registry import operator


@operator
def mbconv(
    x: Value,
    out: int,
    *,
    kernel: int = 3,
    expand: int = 6,
    stride: int = 1,
    groups: int = 1,
    se: bool = False,
    act: str = "relu6",
) -> Value:
    """1x1 expansion, depthwise kxk, and linear 1x1, with a residual where input and output have the same shape.

    An expansion ratio of 1 has no first 1x1. With `groups`, the 1x1 convolutions are grouped and the channels are
    shuffled before the last one (FBNet's e1_g2). Squeeze-and-excitation (`se`) reduces the expanded channels to a
    quarter.
    """
    if expand < 1:
        raise SpaceError(f"expand must be at least 1, got {expand}")
    h = x
    if expand > 1:
        h = conv(x, x.channels * expand, 1, groups=groups, act=act)
    h = conv(h, h.channels, kernel, stride=stride, groups=h.channels)
    if se:
        h = squeeze_excite(h, max(1, h.channels // 4))
    h = activation(h, act)
    h = shuffle(h, groups) if groups > 1 else h
    h = conv(h, out, 1, groups=groups)
    return add(x, h) if h.shape == x.shape else h
