"""The winning network drawn: one box a block, as wide as the time that it takes, as high as its channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nascli.units import format_count, format_seconds

_WIDTH, _LEFT, _BASE, _GAP = 1100, 8, 168, 1.5
_LEAST_FOR_NAME, _LETTER, _LINE = 46, 6.9, 18
_COLOURS = 8


@dataclass(frozen=True)
class DrawnBlock:
    """One block of the winner: what it is and what it costs.

    Attributes:
        name: of its place.
        operator: in words.
        output: its shape, in words.
        channels: of its output.
        seconds: predicted; 0 where latency is not known.
        macs: per image.
        skipped: whether it computes nothing.
    """

    name: str
    operator: str
    output: str
    channels: int
    seconds: float
    macs: int
    skipped: bool


def network_drawing(blocks: Sequence[DrawnBlock]) -> str:
    """The network from left to right; parallel branches lie above each other in their box."""
    timed = any(block.seconds > 0 for block in blocks)
    weights = [max(b.seconds if timed else float(b.macs), 0.0) for b in blocks]
    total = sum(weights) or 1.0
    # What is skipped or nearly free still has a place.
    room = _WIDTH - 2 * _LEFT - _GAP * len(blocks)
    least = 6.0
    widths = [least + (room - least * len(blocks)) * weight / total for weight in weights]
    tallest = max(math.log2(1 + b.channels) for b in blocks)
    kinds = _kinds(blocks)
    parts = []
    at = float(_LEFT)
    for block, width in zip(blocks, widths, strict=True):
        style = f"kind{kinds.get(_kind(block, kinds), 0) % _COLOURS}"
        height = 24 + 118 * math.log2(1 + block.channels) / tallest
        branches = max(1, block.operator.count(" + ") + 1)
        cost = format_seconds(block.seconds) if timed else f"{format_count(block.macs)} MACs"
        tip = f"{block.name}: {block.operator}, to {block.output}" + ("" if block.skipped else f", {cost}")
        parts.append(f'<g class="point" tabindex="0"><title>{escape(tip)}</title>')
        if block.skipped:
            parts.append(
                f'<line class="guide" x1="{at:.1f}" x2="{at + width:.1f}" y1="{_BASE - 20}" y2="{_BASE - 20}"/>'
            )
        else:
            for branch in range(branches):
                part = height / branches
                parts.append(
                    f'<rect class="box {style}" x="{at:.1f}" y="{_BASE - height + branch * part:.1f}" '
                    f'width="{width:.1f}" height="{part - (1 if branches > 1 else 0):.1f}" rx="3"/>'
                )
        if width >= _LEAST_FOR_NAME:
            parts.append(
                f'<text class="tick" text-anchor="middle" x="{at + width / 2:.1f}" y="{_BASE + 16}">'
                f"{escape(_fitting(block.name, width))}</text>"
            )
        parts.append(f'<text class="tip" x="{_LEFT}" y="14">{escape(tip[:150])}</text></g>')
        at += width + _GAP
    legend, bottom = _legend(kinds, _BASE + 2 * _LINE)
    axis = "time" if timed else "MACs"
    parts.append(
        f'<text class="title" x="{_LEFT}" y="{bottom + _LINE}">widths: share of the {axis}; heights: channels; '
        "thin gaps: skipped</text>"
    )
    height_of_all = bottom + 2 * _LINE - 6
    head = f'<svg viewBox="0 0 {_WIDTH} {height_of_all}" role="img" aria-label="the network, block by block">'
    return "".join([head, *parts, *legend, "</svg>"])


def _kinds(blocks: Sequence[DrawnBlock]) -> dict[str, int]:
    """Colours by operator; by its family where there are too many operators."""
    used = [block.operator for block in blocks if not block.skipped]
    names = dict.fromkeys(used)
    if len(names) > _COLOURS:
        names = dict.fromkeys(_family(name) for name in used)
    return {name: number for number, name in enumerate(names)}


def _kind(block: DrawnBlock, kinds: dict[str, int]) -> str:
    return block.operator if block.operator in kinds else _family(block.operator)


def _family(operator: str) -> str:
    return operator.partition(" ")[0].partition("(")[0]


def _legend(kinds: dict[str, int], top: float) -> tuple[list[str], float]:
    """Swatches with names, in lines; and where the last line is."""
    parts, x, y = [], float(_LEFT), top
    for name, number in kinds.items():
        shown = name if len(name) <= 60 else name[:59] + "…"
        width = 18 + _LETTER * len(shown) + 14
        if x + width > _WIDTH and x > _LEFT:
            x, y = float(_LEFT), y + _LINE
        parts.append(
            f'<rect class="kind{number % _COLOURS}" x="{x:.1f}" y="{y - 10}" width="12" height="12" rx="3"/>'
        )
        parts.append(f'<text class="tick" x="{x + 18:.1f}" y="{y}">{escape(shown)}</text>')
        x += width
    return parts, y


def _fitting(name: str, width: float) -> str:
    most = int(width / 6.6)
    return name if len(name) <= most else name[: max(1, most - 1)] + "…"


def block_rows(blocks: Sequence[DrawnBlock], rest: float) -> list[dict[str, Any]]:
    """Rows of the table: blocks, what belongs to none of them, and the total.

    Args:
        blocks: of the winner.
        rest: seconds that the model does not assign to a block, such as a calibration's offset.
    """
    longest = max(block.seconds for block in blocks) or 1.0
    timed = any(block.seconds > 0 for block in blocks)
    rows = [
        {
            "name": block.name,
            "operator": block.operator,
            "output": block.output,
            "latency": format_seconds(block.seconds) if timed and not block.skipped else "-",
            "macs": "-" if block.skipped else format_count(block.macs),
            "width": f"{100 * max(block.seconds, 0.0) / longest:.1f}",
            "style": "mute" if block.skipped else "",
        }
        for block in blocks
    ]
    total = sum(block.seconds for block in blocks) + rest
    if timed and abs(rest) > 1e-9 * total:
        rows.append(
            _row("", "of no block: starting a run, and what calibration adds", format_seconds(rest), "-", "")
        )
    rows.append(
        _row(
            "total",
            "",
            format_seconds(total) if timed else "-",
            format_count(sum(b.macs for b in blocks)),
            "total",
        )
    )
    return rows


def _row(name: str, operator: str, latency: str, macs: str, style: str) -> dict[str, Any]:
    row = {"name": name, "operator": operator, "output": "", "latency": latency, "macs": macs}
    return {**row, "width": "0", "style": style}
