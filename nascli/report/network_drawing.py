"""A network drawn from left to right: a box for each block, as wide as its time, as high as its channels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from nascli.units import format_count, format_seconds

# In pixels: the width of the drawing, its left margin, the foot of the boxes, and the gap between two.
_WIDTH, _LEFT, _BASE, _GAP = 1100, 8, 168, 1.5
# In pixels: the smallest width of a box, that of a box with a name, the width of a letter, and the height of a line.
_MIN_WIDTH, _MIN_WIDTH_FOR_NAME, _LETTER, _LINE = 6.0, 46, 6.9, 18
_COLOURS = 8
_MAX_LEGEND_LENGTH, _MAX_TIP_LENGTH = 60, 150


@dataclass(frozen=True)
class DrawnBlock:
    """One block of a network, and what it costs.

    Attributes:
        name: The name of the block.
        operator: The operator in words; those of parallel branches are joined by ' + '.
        output: The shape of its output, in words.
        channels: The number of channels of its output.
        seconds: The predicted latency per batch; 0 where it is not known.
        macs: MACs per image.
        skipped: Whether the block computes nothing.
    """

    name: str
    operator: str
    output: str
    channels: int
    seconds: float
    macs: int
    skipped: bool

    @property
    def branches(self) -> int:
        """The number of parallel branches."""
        return self.operator.count(" + ") + 1


def network_drawing(blocks: Sequence[DrawnBlock]) -> str:
    """Draw a network from left to right; the parallel branches of a block lie above each other.

    Args:
        blocks: The blocks in order, at least one.

    Returns:
        An ``<svg>`` element; its text is escaped.
    """
    is_timed = any(block.seconds > 0 for block in blocks)
    colours = _colours(blocks)
    highest = max(math.log2(1 + block.channels) for block in blocks)
    parts = []
    x = float(_LEFT)
    for block, width in zip(blocks, _widths(blocks, is_timed), strict=True):
        cost = format_seconds(block.seconds) if is_timed else f"{format_count(block.macs)} MACs"
        tip = f"{block.name}: {block.operator}, to {block.output}" + ("" if block.skipped else f", {cost}")
        height = 24 + 118 * math.log2(1 + block.channels) / highest
        parts.append(f'<g class="point" tabindex="0"><title>{escape(tip)}</title>')
        parts += _box(block, x, width, height, _colour(block, colours))
        parts.append(f'<text class="tip" x="{_LEFT}" y="14">{escape(tip[:_MAX_TIP_LENGTH])}</text></g>')
        x += width + _GAP
    legend, bottom = _legend(colours, _BASE + 2 * _LINE)
    unit = "time" if is_timed else "MACs"
    parts.append(
        f'<text class="title" x="{_LEFT}" y="{bottom + _LINE}">widths: share of the {unit}; heights: channels; '
        "thin gaps: skipped</text>"
    )
    head = (
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 2 * _LINE - 6}" role="img" '
        'aria-label="the network, block by block">'
    )
    return "".join([head, *parts, *legend, "</svg>"])


def _widths(blocks: Sequence[DrawnBlock], is_timed: bool) -> list[float]:
    """Return the widths of all boxes in pixels, in proportion to their costs above a smallest width."""
    costs = [max(block.seconds if is_timed else float(block.macs), 0.0) for block in blocks]
    total = sum(costs) or 1.0
    room = _WIDTH - 2 * _LEFT - _GAP * len(blocks)
    return [_MIN_WIDTH + (room - _MIN_WIDTH * len(blocks)) * cost / total for cost in costs]


def _box(block: DrawnBlock, x: float, width: float, height: float, colour: int) -> list[str]:
    """Draw a block: a dashed line where it computes nothing, else a rectangle for each branch; and its name."""
    parts = []
    if block.skipped:
        parts.append(
            f'<line class="guide" x1="{x:.1f}" x2="{x + width:.1f}" y1="{_BASE - 20}" y2="{_BASE - 20}"/>'
        )
    else:
        share = height / block.branches
        gap = 1 if block.branches > 1 else 0
        parts += [
            f'<rect class="box kind{colour}" x="{x:.1f}" y="{_BASE - height + branch * share:.1f}" '
            f'width="{width:.1f}" height="{share - gap:.1f}" rx="3"/>'
            for branch in range(block.branches)
        ]
    if width >= _MIN_WIDTH_FOR_NAME:
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x + width / 2:.1f}" y="{_BASE + 16}">'
            f"{escape(_shortened(block.name, int(width / 6.6)))}</text>"
        )
    return parts


def _colours(blocks: Sequence[DrawnBlock]) -> dict[str, int]:
    """Return numbers of colours by operator; by its family where there are more operators than colours."""
    names = dict.fromkeys(block.operator for block in blocks if not block.skipped)
    if len(names) > _COLOURS:
        names = dict.fromkeys(_family(name) for name in names)
    return {name: number % _COLOURS for number, name in enumerate(names)}


def _colour(block: DrawnBlock, colours: Mapping[str, int]) -> int:
    return colours.get(block.operator, colours.get(_family(block.operator), 0))


def _family(operator: str) -> str:
    return operator.partition(" ")[0].partition("(")[0]


def _legend(colours: Mapping[str, int], top: float) -> tuple[list[str], float]:
    """Draw swatches with names in lines, and return them with the position of the last line."""
    parts, x, y = [], float(_LEFT), top
    for name, colour in colours.items():
        label = _shortened(name, _MAX_LEGEND_LENGTH)
        width = 18 + _LETTER * len(label) + 14
        if x + width > _WIDTH and x > _LEFT:
            x, y = float(_LEFT), y + _LINE
        parts.append(f'<rect class="kind{colour}" x="{x:.1f}" y="{y - 10}" width="12" height="12" rx="3"/>')
        parts.append(f'<text class="tick" x="{x + 18:.1f}" y="{y}">{escape(label)}</text>')
        x += width
    return parts, y


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: max(1, length - 1)] + "…"


def block_rows(blocks: Sequence[DrawnBlock], rest: float) -> list[dict[str, str]]:
    """Return the rows of the table of blocks: each block, what belongs to none of them, and the total.

    Bars are as long as the blocks' latency, or their MACs where nothing is known of it.

    Args:
        blocks: The blocks of the network.
        rest: Seconds of the predicted latency that belong to no block, such as the offset of a calibration.
    """
    is_timed = any(block.seconds > 0 for block in blocks)
    shares = [max(block.seconds if is_timed else float(block.macs), 0.0) for block in blocks]
    longest = max(shares) or 1.0
    rows = [
        {
            "name": block.name,
            "operator": block.operator,
            "output": block.output,
            "latency": format_seconds(block.seconds) if is_timed and not block.skipped else "-",
            "macs": "-" if block.skipped else format_count(block.macs),
            "width": f"{100 * share / longest:.1f}",
            "style": "mute" if block.skipped else "",
        }
        for block, share in zip(blocks, shares, strict=True)
    ]
    empty = {"name": "", "operator": "", "output": "", "latency": "-", "macs": "-", "width": "0", "style": ""}
    total = sum(block.seconds for block in blocks) + rest
    if is_timed and abs(rest) > 1e-9 * total:
        what = "of no block: starting a run, and what calibration adds"
        rows.append({**empty, "operator": what, "latency": format_seconds(rest)})
    rows.append(
        {
            **empty,
            "name": "total",
            "latency": format_seconds(total) if is_timed else "-",
            "macs": format_count(sum(block.macs for block in blocks)),
            "style": "total",
        }
    )
    return rows
