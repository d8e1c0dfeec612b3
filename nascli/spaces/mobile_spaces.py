"""Search spaces of inverted residual blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nascli.errors import SpaceError
from nascli.spaces.catalog import space_factory
from nascli.spaces.library import conv_block, head, identity, mbconv
from nascli.spaces.operators import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.space import Layer, Space


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never losing more than a tenth (MobileNetV2's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class Stage:
    """Layers of one width: the first has the stride, the others may be skipped."""

    width: int
    layers: int
    stride: int


def check_macro(resolution: int, width: float, classes: int, channels: int) -> None:
    """Refuse macro parameters that no network can have."""
    if resolution < 8:
        raise SpaceError(f"resolution must be at least 8, got {resolution}")
    if not 0 < width <= 8:
        raise SpaceError(f"width must be in (0, 8], got {width}")
    if classes < 2:
        raise SpaceError(f"classes must be at least 2, got {classes}")
    if channels < 1:
        raise SpaceError(f"channels must be at least 1, got {channels}")


def mbconv_layers(
    shape: Shape, stages: Sequence[Stage], kernels: Sequence[int], expansions: Sequence[int]
) -> list[tuple[str, Operator] | Layer]:
    """Layers that choose kernel and expansion, or to be skipped where the shape allows it."""
    blocks: list[tuple[str, Operator] | Layer] = []
    for number, stage in enumerate(stages, 1):
        for index in range(stage.layers):
            stride = stage.stride if index == 0 else 1
            candidates = [
                mbconv(shape, stage.width, kernel=kernel, expand=expand, stride=stride)
                for expand in expansions
                for kernel in kernels
            ]
            if candidates[0].output == shape:
                candidates.append(identity(shape))
            blocks.append(Layer(f"stage{number}.{index}", tuple(candidates)))
            shape = candidates[0].output
    return blocks


@space_factory("proxyless-small")
def proxyless_small(
    *, resolution: int = 28, width: float = 1.0, depth: int = 3, classes: int = 10, channels: int = 1
) -> Space:
    """Ten MBConv layers (kernel 3, 5, 7; expansion 3, 6; or skipped) for small images.

    ProxylessNAS's choices on a macro-architecture that trains in minutes on a CPU. `depth` is the number
    of layers of each of the three stages.
    """
    check_macro(resolution, width, classes, channels)
    if not 1 <= depth <= 16:
        raise SpaceError(f"depth must be in 1..16, got {depth}")
    widths = [make_divisible(w * width) for w in (24, 48, 96, 192)]
    stem = conv_block((channels, resolution, resolution), widths[0], kernel=3, stride=2)
    stages = [Stage(widths[1], depth, 1), Stage(widths[2], depth + 1, 2), Stage(widths[3], depth, 2)]
    layers = mbconv_layers(stem.output, stages, kernels=(3, 5, 7), expansions=(3, 6))
    last = layers[-1]
    assert isinstance(last, Layer)
    tail = head(last.output, classes, features=make_divisible(384 * max(1.0, width)))
    return Space("proxyless-small", (), (("stem", stem), *layers, ("head", tail)))
