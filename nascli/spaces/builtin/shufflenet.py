"""The spaces of SPOS with ShuffleNetV2 blocks, with and without channel search."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.errors import SpaceError
from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.builtin.stages import Stage, check_macro, make_layers
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.shuffle_blocks import choice, choice_x
from nascli.spaces.primitives import Shape
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Space

STAGES = (Stage(64, 4, 2), Stage(160, 4, 2), Stage(320, 8, 2), Stage(640, 4, 2))
SMALL_STAGES = (Stage(32, 3, 2), Stage(64, 4, 2))
SCALES = tuple(round(0.2 * index, 1) for index in range(1, 9))


def _block(kind: int, shape: Shape, width: int, stride: int, scale: float) -> Operator:
    if kind == 3:
        return choice_x(shape, width, scale=scale, stride=stride)
    return choice(shape, width, kernel=3 + 2 * kind, scale=scale, stride=stride)


def rounded(stages: Sequence[Stage], width: float) -> list[Stage]:
    """Return stages with their widths multiplied and rounded to multiples of 4, as SPOS rescales its baselines."""
    return [Stage(max(4, int(s.width * width / 4 + 0.5) * 4), s.layers, s.stride) for s in stages]


def _space(
    name: str,
    stages: Sequence[Stage],
    scales: Sequence[float],
    *,
    resolution: int,
    width: float,
    classes: int,
    channels: int,
    features: int = 1024,
) -> Space:
    check_macro(resolution, width, classes, channels)
    stem = conv_block((channels, resolution, resolution), 16, stride=2, act="relu")
    stages = rounded(stages, width)
    if stages[0].width <= 16:
        raise SpaceError(f"the first stage must be wider than the stem's 16, got {stages[0].width}")

    def make_layer(name: str, shape: Shape, out: int, stride: int) -> Layer:
        blocks = [_block(kind, shape, out, stride, scale) for kind in range(4) for scale in scales]
        return Layer(name, tuple(blocks))

    layers = make_layers(stem.output, stages, make_layer)
    tail = head(layers[-1].output, classes, features=features, act="relu", bias=False)
    return Space(name, (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


@space_factory("spos")
def spos(*, resolution: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3) -> Space:
    """SPOS's block search: 20 layers of choice_3, choice_5, choice_7, choice_x (Guo et al., Table 2)."""
    return _space(
        "spos", STAGES, (1.0,), resolution=resolution, width=width, classes=classes, channels=channels
    )


@space_factory("spos-channels")
def spos_channels(
    *, resolution: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3
) -> Space:
    """SPOS's joint search of blocks and middle channels (0.2 to 1.6): a choice is 8 * block + scale."""
    return _space(
        "spos-channels",
        STAGES,
        SCALES,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
    )


@space_factory("spos-mini")
def spos_mini(*, resolution: int = 28, width: float = 1.0, classes: int = 10, channels: int = 1) -> Space:
    """SPOS's blocks in 7 thin layers for small images."""
    return _space(
        "spos-mini",
        SMALL_STAGES,
        (1.0,),
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
        features=128,
    )


@space_factory("spos-channels-mini")
def spos_channels_mini(
    *, resolution: int = 28, width: float = 1.0, classes: int = 10, channels: int = 1
) -> Space:
    """SPOS's blocks and middle channels in 7 thin layers for small images."""
    return _space(
        "spos-channels-mini",
        SMALL_STAGES,
        SCALES,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
        features=128,
    )
