"""How a search narrowed its space: which operators live where, drawn as a grid of layers and operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from nascli.spaces.space import Layer, Space

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


def _names(space: Space) -> tuple[list[str], list[str]]:
    """Layers' names, and the short names of all operators in order of their first appearance."""
    rows: dict[str, None] = {}
    for layer in space.layers:
        for candidate in layer.candidates:
            rows.setdefault(candidate.short, None)
    return [layer.name for layer in space.layers], list(rows)


def _place(layer: Layer, rows: Sequence[str], index: int) -> int:
    return rows.index(layer.candidates[index].short)


def pools_story(space: Space, pools: Sequence[dict[str, Any]], winner: Sequence[int]) -> Story:
    """PC-NAS: the potential of each operator when its layer was decided, and what the pool kept."""
    columns, rows = _names(space)
    cells: dict[tuple[int, int], Cell] = {}
    for number, (layer, pool) in enumerate(zip(space.layers, pools, strict=False)):
        best: dict[int, float] = {}
        for codes, potential in pool["candidates"]:
            if potential is not None:
                best[codes[number]] = max(best.get(codes[number], -1.0), potential)
        kept = {codes[number] for codes, _ in pool["pool"]}
        low, high = min(best.values()), max(best.values())
        for code, potential in best.items():
            share = (potential - low) / (high - low) if high > low else 1.0
            tip = f"{layer.name}, {layer.candidates[code].short}: potential {potential:.3f}"
            tip += ", kept" if code in kept else ", dropped"
            shown = 0.25 * share if code not in kept else 0.5 + 0.5 * share
            cells[number, _place(layer, rows, code)] = Cell(shown, winner[number] == code, tip)
    text = (
        "Layer by layer, left to right: the darker, the higher the expected accuracy of networks with that operator "
        "(best partial model); pale ones left the pool. The winner's are marked."
    )
    return Story("How the pool grew", text, grid(columns, rows, cells))


def rounds_story(space: Space, rounds: Sequence[dict[str, Any]], winner: Sequence[int]) -> Story:
    """NSE: the round in which each operation was traversed, and whether it lives on (Fig. 10)."""
    columns, rows = _names(space)
    cells: dict[tuple[int, int], Cell] = {}
    for number, layer in enumerate(space.layers):
        for index in range(len(layer.candidates)):
            seen = [r for r, one in enumerate(rounds, 1) if index in one["subset"][number]]
            lives = [r for r, one in enumerate(rounds, 1) if index in one["aggregated"][number]]
            tip = f"{layer.name}, {layer.candidates[index].short}: "
            if not seen:
                tip += "never drawn"
            else:
                tip += f"drawn in round {seen[0]}, " + (
                    f"on fronts until round {lives[-1]}" if lives else "never on a front"
                )
            share = 0.0 if not seen else 0.12 + (0.88 * len(lives) / max(1, len(rounds) - seen[0] + 1))
            cells[number, _place(layer, rows, index)] = Cell(share, bool(winner[number] >> index & 1), tip)
    text = (
        f"{len(rounds)} rounds. The darker, the more rounds an operation stayed on the Pareto front since it was "
        "drawn; the winner's are marked."
    )
    return Story("Which operations live where", text, grid(columns, rows, cells))
