"""Operators that every space needs: stems, heads, identity, pooling, and squeeze-and-excitation."""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.operators.definition import Value, activation, conv, global_pool, linear, pool, scale
from nascli.spaces.operators.registry import operator


def squeeze_excite(x: Value, reduced: int, *, act: str = "relu", gate: str = "hsigmoid") -> Value:
    """Apply squeeze-and-excitation with `reduced` channels in its bottleneck (Hu et al. 2018)."""
    h = conv(global_pool(x), reduced, 1, norm=False, bias=True, act=act)
    h = conv(h, x.channels, 1, norm=False, bias=True, act=gate)
    return scale(x, h)


@operator
def identity(x: Value) -> Value:
    """The identity, which is how a layer is skipped."""
    return x


@operator
def conv_block(
    x: Value, out: int, *, kernel: int = 3, stride: int = 1, act: str = "relu6", groups: int = 1
) -> Value:
    """Convolution, batch normalisation, and activation ('none' for no activation)."""
    return conv(x, out, kernel, stride=stride, groups=groups, act=None if act == "none" else act)


@operator
def max_pool(x: Value, *, kernel: int = 3, stride: int = 1) -> Value:
    """Maximum pooling."""
    return pool(x, "max", kernel, stride=stride)


@operator
def avg_pool(x: Value, *, kernel: int = 3, stride: int = 1) -> Value:
    """Average pooling that does not count the padding."""
    return pool(x, "avg", kernel, stride=stride)


@operator
def head(
    x: Value,
    classes: int,
    *,
    features: int = 0,
    act: str = "relu6",
    norm: bool = True,
    bias: bool = True,
) -> Value:
    """1x1 convolution to `features` channels (none if 0), global average pooling, and fully connected classifier."""
    if features < 0:
        raise SpaceError(f"features must be 0 or more, got {features}")
    h = x
    if features:
        h = conv(h, features, 1, norm=norm)
        h = h if act == "none" else activation(h, act)
    return linear(global_pool(h), classes, bias=bias)
