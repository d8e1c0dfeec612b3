"""How a search narrowed its space: which operators live where, drawn as a grid of layers and operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from nascli.spaces.blocks import Layer
from nascli.spaces.space import Space

_CELL, _TOP = 22, 74
# Pixels per character of a row's name.
_LETTER = 6.9


@dataclass(frozen=True)
class Cell:
    """One operator in one layer: how much of it is left, from 0 to 1, whether it won, and its tooltip."""

    share: float
    won: bool
    tip: str


@dataclass(frozen=True)
class Story:
    """A picture with what to read in it.

    Attributes:
        title: a heading.
        text: a sentence.
        svg: the drawing; its text is escaped.
    """

    title: str
    text: str
    svg: str


def grid(columns: Sequence[str], rows: Sequence[str], cells: dict[tuple[int, int], Cell]) -> str:
    """A grid of squares: layers across, operators down; darker means more of it is left."""
    left = 16 + round(_LETTER * max((len(name) for name in rows), default=0))
    width, height = left + _CELL * len(columns) + 48, _TOP + _CELL * len(rows) + 8
    parts = [
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width * 1.3:.0f}px" role="img" aria-label="survivors">'
    ]
    for x, name in enumerate(columns):
        at = left + _CELL * x + _CELL / 2 + 4
        parts.append(
            f'<text transform="translate({at} {_TOP - 6}) rotate(-55)" class="tick">{escape(name)}</text>'
        )
    for y, name in enumerate(rows):
        at = _TOP + _CELL * y + _CELL / 2 + 4
        parts.append(f'<text x="{left - 8}" y="{at}" text-anchor="end" class="tick">{escape(name)}</text>')
    for (x, y), cell in sorted(cells.items()):
        style = "best" if cell.won else "cell"
        opacity = 1.0 if cell.won else 0.08 + 0.82 * cell.share
        parts.append(
            f'<rect class="{style}" x="{left + _CELL * x + 1}" y="{_TOP + _CELL * y + 1}" width="{_CELL - 2}" '
            f'height="{_CELL - 2}" rx="3" fill-opacity="{opacity:.2f}"><title>{escape(cell.tip)}</title></rect>'
        )
    return "".join([*parts, "</svg>"])


def operator_rows(space: Space) -> tuple[list[str], list[str]]:
    """Layers' names, and the short names of all operators in order of their first appearance."""
    rows: dict[str, None] = {}
    for layer in space.layers:
        for candidate in layer.candidates:
            rows.setdefault(candidate.short, None)
    return [layer.name for layer in space.layers], list(rows)


def row_of(layer: Layer, rows: Sequence[str], index: int) -> int:
    """The row of a layer's candidate among the rows of a grid."""
    return rows.index(layer.candidates[index].short)


def evaluated_story(
    space: Space, evaluated: Sequence[tuple[Sequence[int], float]], winner: Sequence[int]
) -> Story:
    """How often each operator is in the best quarter of the architectures that were evaluated."""
    columns, rows = operator_rows(space)
    ordered = sorted(evaluated, key=lambda pair: -pair[1])
    top = ordered[: max(1, len(ordered) // 4)]
    cells: dict[tuple[int, int], Cell] = {}
    for place, layer in enumerate(space.layers):
        chosen = set(layer.chosen(int(winner[place])))
        for index, candidate in enumerate(layer.candidates):
            counts = [
                sum(index in layer.chosen(int(codes[place])) for codes, _ in some) / len(some)
                for some in (top, ordered)
            ]
            tip = f"{layer.name}, {candidate.short}: in {counts[0]:.0%} of the best quarter, {counts[1]:.0%} of all"
            at = (place, row_of(layer, rows, index))
            before = cells.get(at)
            if before is None or counts[0] > before.share:
                cells[at] = Cell(counts[0], index in chosen, tip)
    text = (
        f"Of {len(ordered)} evaluated architectures, the best quarter by accuracy: the darker, the more of them have "
        "that operator there; the winner's are marked."
    )
    return Story("What good architectures have in common", text, grid(columns, rows, cells))
