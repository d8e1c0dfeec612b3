"""The spaces of Network Space Search (Hong et al.), and Elite Spaces that every other algorithm can search.

An Elite Space has, for each stage, a range of depths and a range of widths. In a chain of layers, the width of a stage
cannot be a choice, because the layers around it would change with it. Therefore a stage has the middle of its range
between its blocks, and each block chooses its inner width within the range, so that the chain costs on average what
the networks of the range cost. Blocks beyond the minimum depth may be skipped.
"""

from __future__ import annotations

import re

from nascli.errors import SpaceError
from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.builtin.stages import check_macro
from nascli.spaces.operators.basic import conv_block, head, identity
from nascli.spaces.operators.residual_blocks import basic_block
from nascli.spaces.primitives import Shape
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace

_RANGE = re.compile(r"(\d+)to(\d+)x(\d+)to(\d+)")
# Number of inner widths of a block, evenly spread over the range of widths.
_INNER_WIDTHS = 4
StageRange = tuple[int, int, int, int]


def parse_ranges(text: str) -> tuple[StageRange, ...]:
    """Read a text such as ``1to4x1to32.2to3x8to16``.

    Returns:
        For each stage, minimum and maximum depth, minimum and maximum width.

    Raises:
        SpaceError: The text has another form, or a range is empty or too large.
    """
    ranges = []
    for part in text.split("."):
        match = _RANGE.fullmatch(part)
        if match is None or len(text) > 200:
            raise SpaceError(
                f"ranges look like 1to4x1to32.2to3x8to16 (depths x widths per stage), got {text!r}"
            )
        low, high, narrow, wide = (int(value) for value in match.groups())
        if not (1 <= low <= high <= 64 and 1 <= narrow <= wide <= 4096):
            raise SpaceError(
                f"1 <= minimum <= maximum must hold for depths (at most 64) and widths (at most 4096), got {part}"
            )
        ranges.append((low, high, narrow, wide))
    return tuple(ranges)


def format_ranges(ranges: tuple[StageRange, ...]) -> str:
    """Return the text that `parse_ranges` reads."""
    return ".".join(f"{low}to{high}x{narrow}to{wide}" for low, high, narrow, wide in ranges)


@space_factory("nss-elite")
def nss_elite(
    *,
    ranges: str = "1to4x1to32.1to4x1to32.1to4x1to32",
    resolution: int = 14,
    classes: int = 10,
    channels: int = 1,
    stem: int = 8,
) -> Space:
    """Elite Space of NSS as a chain of residual blocks, of which inner widths and skips are searched."""
    check_macro(resolution, 1.0, classes, channels)
    first = conv_block((channels, resolution, resolution), stem, act="relu")
    shape, layers = first.output, []
    for number, (low, high, narrow, wide) in enumerate(parse_ranges(ranges), 1):
        widths = sorted(
            {round(narrow + (wide - narrow) * i / (_INNER_WIDTHS - 1)) for i in range(_INNER_WIDTHS)}
        )
        middle = (narrow + wide + 1) // 2
        for index in range(high):
            stride = 2 if index == 0 and number > 1 else 1
            blocks = [basic_block(shape, middle, stride=stride, width=w / middle) for w in widths]
            if index >= low:
                blocks.append(identity(shape))
            layers.append(Layer(f"stage{number}.{index}", tuple(blocks)))
            shape = layers[-1].output
    tail = head(shape, classes)
    return Space("nss-elite", (), (FixedBlock("stem", first), *layers, FixedBlock("head", tail)))


@space_factory("nss-expanded")
def nss_expanded(
    *,
    resolution: int = 32,
    classes: int = 10,
    channels: int = 3,
    depths: int = 16,
    widths: int = 512,
) -> StagedSpace:
    """Expanded Search Space of NSS (Hong et al.): 3 stages of residual blocks, depth 1..16, width 1..512, on CIFAR."""
    shape = Shape(channels, resolution, resolution)
    return StagedSpace("nss-expanded", (), shape, classes, (1, 2, 2), depths, widths, 16)


@space_factory("nss-expanded-mini")
def nss_expanded_mini(
    *, resolution: int = 14, classes: int = 10, channels: int = 1, depths: int = 4, widths: int = 32
) -> StagedSpace:
    """Expanded Search Space of NSS with short and thin stages for small images."""
    shape = Shape(channels, resolution, resolution)
    return StagedSpace("nss-expanded-mini", (), shape, classes, (1, 2, 2), depths, widths, 8)
