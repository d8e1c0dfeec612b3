"""What space families share: stages, rounding of widths, and checks of common parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nascli.errors import SpaceError
from nascli.spaces.blocks import Layer
from nascli.spaces.primitives import Shape

LayerMaker = Callable[[str, Shape, int, int], Layer]


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of `divisor`, but not below 90 % of `channels` (MobileNetV2)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


@dataclass(frozen=True)
class Stage:
    """Layers of one width.

    Attributes:
        width: Number of output channels of every layer.
        layers: Number of layers.
        stride: Stride of the first layer; the others have a stride of 1.
    """

    width: int
    layers: int
    stride: int


def check_macro(resolution: int, width: float, classes: int, channels: int) -> None:
    """Check the parameters that most spaces have.

    Raises:
        SpaceError: A parameter is out of range.
    """
    if resolution < 8:
        raise SpaceError(f"resolution must be at least 8, got {resolution}")
    if not 0 < width <= 8:
        raise SpaceError(f"width must be in (0, 8], got {width}")
    if classes < 2:
        raise SpaceError(f"classes must be at least 2, got {classes}")
    if channels < 1:
        raise SpaceError(f"channels must be at least 1, got {channels}")


def scaled(stages: Sequence[Stage], width: float) -> list[Stage]:
    """Return stages with their widths multiplied and rounded to multiples of 8."""
    return [Stage(make_divisible(s.width * width), s.layers, s.stride) for s in stages]


def stage_blocks(shape: Shape, stages: Sequence[Stage]) -> Iterator[tuple[str, Shape, int, int]]:
    """Yield the name, the input shape, the output width, and the stride of every layer of the stages.

    Args:
        shape: Input shape of the first layer.
        stages: The stages.
    """
    for number, stage in enumerate(stages, 1):
        for index in range(stage.layers):
            stride = stage.stride if index == 0 else 1
            yield f"stage{number}.{index}", shape, stage.width, stride
            shape = Shape(stage.width, -(-shape.height // stride), -(-shape.width // stride))


def make_layers(shape: Shape, stages: Sequence[Stage], make_layer: LayerMaker) -> list[Layer]:
    """Return the layers of stages.

    Args:
        shape: Input shape of the first layer.
        stages: The stages.
        make_layer: Makes a layer from its name, input shape, output width, and stride.
    """
    return [make_layer(*description) for description in stage_blocks(shape, stages)]
