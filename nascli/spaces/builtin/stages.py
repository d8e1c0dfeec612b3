"""What macro-architectures share: stages, rounding of widths, and checks of common parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nascli.errors import SpaceError
from nascli.spaces.blocks import Layer
from nascli.spaces.primitives import Shape

LayerMaker = Callable[[str, Shape, int, int], Layer]


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, never losing more than a tenth (MobileNetV2's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class Stage:
    """Layers of one width; the first has the stride."""

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


def scaled(stages: Sequence[Stage], width: float) -> list[Stage]:
    """Stages with their widths multiplied and rounded to 8."""
    return [Stage(make_divisible(s.width * width), s.layers, s.stride) for s in stages]


def stage_blocks(shape: Shape, stages: Sequence[Stage]) -> Iterator[tuple[str, Shape, int, int]]:
    """Name, input shape, output width and stride of every layer in turn."""
    for number, stage in enumerate(stages, 1):
        for index in range(stage.layers):
            stride = stage.stride if index == 0 else 1
            yield f"stage{number}.{index}", shape, stage.width, stride
            shape = Shape(stage.width, -(-shape.height // stride), -(-shape.width // stride))


def make_layers(shape: Shape, stages: Sequence[Stage], place: LayerMaker) -> list[Layer]:
    """A layer for every place of the stages."""
    return [place(*where) for where in stage_blocks(shape, stages)]
