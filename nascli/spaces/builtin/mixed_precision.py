"""The mixed-precision spaces of SPOS: bit widths and bottleneck channels of ResNet blocks."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.builtin.stages import Stage, check_macro, make_layers, scaled
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.residual_blocks import basic_block, resnet_stem
from nascli.spaces.primitives import Shape
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Space

# Bit widths of weights and activations, and bottleneck widths (SPOS, section 4).
BITS = ((1, 2), (2, 2), (1, 4), (2, 4), (3, 4), (4, 4))
WIDTHS = (0.5, 1.0, 1.5)
RESNET_18 = (2, 2, 2, 2)
RESNET_34 = (3, 4, 6, 3)


def stages_of(layers: Sequence[int], widths: Sequence[int] = (64, 128, 256, 512)) -> list[Stage]:
    """Return the stages of a ResNet, of which all but the first halve the resolution."""
    strides = (1, 2, 2, 2)
    return [Stage(w, n, s) for w, n, s in zip(widths, layers, strides, strict=False)]


def _bits_layer(name: str, shape: Shape, width: int, stride: int) -> Layer:
    candidates = [
        basic_block(shape, width, stride=stride, width=w, weight_bits=wb, activation_bits=ab)
        for w in WIDTHS
        for wb, ab in BITS
    ]
    return Layer(name, tuple(candidates))


def _resnet_bits(
    name: str, layers: Sequence[int], resolution: int, width: float, classes: int, channels: int
) -> Space:
    check_macro(resolution, width, classes, channels)
    stages = scaled(stages_of(layers), width)
    stem = resnet_stem((channels, resolution, resolution), stages[0].width)
    blocks = make_layers(stem.output, stages, _bits_layer)
    tail = head(blocks[-1].output, classes)
    return Space(name, (), (FixedBlock("stem", stem), *blocks, FixedBlock("head", tail)))


@space_factory("spos-resnet18-bits")
def spos_resnet18_bits(
    *, resolution: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3
) -> Space:
    """SPOS's mixed precision on ResNet-18: 8 blocks of 3 widths x 6 bit pairs."""
    return _resnet_bits("spos-resnet18-bits", RESNET_18, resolution, width, classes, channels)


@space_factory("spos-resnet34-bits")
def spos_resnet34_bits(
    *, resolution: int = 224, width: float = 1.0, classes: int = 1000, channels: int = 3
) -> Space:
    """SPOS's mixed precision on ResNet-34: 16 blocks of 3 widths x 6 bit pairs."""
    return _resnet_bits("spos-resnet34-bits", RESNET_34, resolution, width, classes, channels)


def _small_bits(
    name: str, layers: Sequence[int], resolution: int, width: float, classes: int, channels: int
) -> Space:
    check_macro(resolution, width, classes, channels)
    stages = scaled(stages_of(layers, (16, 32, 64)), width)
    stem = conv_block((channels, resolution, resolution), stages[0].width, act="relu")
    blocks = make_layers(stem.output, stages, _bits_layer)
    tail = head(blocks[-1].output, classes)
    return Space(name, (), (FixedBlock("stem", stem), *blocks, FixedBlock("head", tail)))


@space_factory("spos-resnet18-bits-mini")
def spos_resnet18_bits_mini(
    *, resolution: int = 14, width: float = 1.0, classes: int = 10, channels: int = 1
) -> Space:
    """Mixed precision on six thin residual blocks for small images."""
    return _small_bits("spos-resnet18-bits-mini", (2, 2, 2), resolution, width, classes, channels)


@space_factory("spos-resnet34-bits-mini")
def spos_resnet34_bits_mini(
    *, resolution: int = 14, width: float = 1.0, classes: int = 10, channels: int = 1
) -> Space:
    """Mixed precision on ten thin residual blocks for small images."""
    return _small_bits("spos-resnet34-bits-mini", (3, 4, 3), resolution, width, classes, channels)
