"""The operations of the spaces of NSE and PC-NAS: 1x1 expansion, a spatial part, and linear 1x1.

The expansion is present even at a ratio of 1. The operations have no residual, because layers add their input
themselves (NSE, Eq. 1). Batch normalisation follows every convolution, and ReLU all but the last.
"""

from __future__ import annotations

from collections.abc import Callable

from nascli.spaces.operators.basic import squeeze_excite
from nascli.spaces.operators.definition import Value, activation, conv
from nascli.spaces.operators.registry import operator


def _bottleneck(
    x: Value,
    out: int,
    expand: int,
    act: str,
    se: bool,
    spatial: Callable[[Value], Value],
    groups: tuple[int, int] = (1, 1),
) -> Value:
    h = conv(x, x.channels * expand, 1, groups=groups[0], act=act)
    h = activation(spatial(h), act)
    if se:
        h = squeeze_excite(h, max(1, h.channels // 4))
    return conv(h, out, 1, groups=groups[1])


@operator
def dwconv(
    x: Value,
    out: int,
    *,
    kernel: int = 3,
    expand: int = 1,
    dilation: int = 1,
    stride: int = 1,
    groups_in: int = 1,
    groups_out: int = 1,
    se: bool = False,
    act: str = "relu",
) -> Value:
    """Depthwise kxk, optionally dilated, and optionally between grouped 1x1 projections without channel shuffle."""

    def spatial(h: Value) -> Value:
        return conv(h, h.channels, kernel, stride=stride, dilation=dilation, groups=h.channels)

    return _bottleneck(x, out, expand, act, se, spatial, (groups_in, groups_out))


@operator
def rconv(
    x: Value,
    out: int,
    *,
    kernel: int = 5,
    expand: int = 1,
    stride: int = 1,
    se: bool = False,
    act: str = "relu",
) -> Value:
    """Dense 1xk and kx1, each with the stride of its direction (SSC in NSE, RConv in PC-NAS)."""

    def spatial(h: Value) -> Value:
        h = conv(h, h.channels, (1, kernel), stride=(1, stride), act=act)
        return conv(h, h.channels, (kernel, 1), stride=(stride, 1))

    return _bottleneck(x, out, expand, act, se, spatial)


@operator
def nconv(
    x: Value,
    out: int,
    *,
    kernel: int = 3,
    expand: int = 1,
    stride: int = 1,
    se: bool = False,
    act: str = "relu",
) -> Value:
    """One dense kxk convolution (PC-NAS)."""

    def spatial(h: Value) -> Value:
        return conv(h, h.channels, kernel, stride=stride)

    return _bottleneck(x, out, expand, act, se, spatial)


@operator
def dconv(
    x: Value,
    out: int,
    *,
    kernel: int = 3,
    expand: int = 1,
    stride: int = 1,
    se: bool = False,
    act: str = "relu",
) -> Value:
    """Two dense kxk convolutions, of which the second is strided (PC-NAS)."""

    def spatial(h: Value) -> Value:
        h = conv(h, h.channels, kernel, act=act)
        return conv(h, h.channels, kernel, stride=stride)

    return _bottleneck(x, out, expand, act, se, spatial)
