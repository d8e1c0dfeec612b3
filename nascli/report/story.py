"""How a search narrowed its space: which operators live where, drawn as a grid of layers and operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

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


def round_story(space: Space, one: dict[str, Any], number: int) -> Story:
    """NSE: one round's subset, what simplification left of it, and what its front hands on (Fig. 10)."""
    columns, rows = _names(space)
    cells: dict[tuple[int, int], Cell] = {}
    for place, layer in enumerate(space.layers):
        alive = dict(zip(one["subset"][place], one["trained"]["alive"][place], strict=True))
        for index, stays in alive.items():
            on_front = index in one["aggregated"][place]
            state = "on the front" if on_front else "left by simplification" if stays else "dropped"
            if index in one["inherited"][place]:
                state += ", inherited"
            tip = f"{layer.name}, {layer.candidates[index].short}: {state}"
            cells[place, _place(layer, rows, index)] = Cell(
                1.0 if on_front else 0.4 if stays else 0.0, False, tip
            )
    text = "The round's operations: dark ones are on its front, pale ones were left by simplification, palest dropped."
    return Story(f"Round {number}", text, grid(columns, rows, cells))


def evaluated_story(
    space: Space, evaluated: Sequence[tuple[Sequence[int], float]], winner: Sequence[int]
) -> Story:
    """How often each operator is in the best quarter of the architectures that were evaluated."""
    columns, rows = _names(space)
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
            at = (place, _place(layer, rows, index))
            before = cells.get(at)
            if before is None or counts[0] > before.share:
                cells[at] = Cell(counts[0], index in chosen, tip)
    text = (
        f"Of {len(ordered)} evaluated architectures, the best quarter by accuracy: the darker, the more of them have "
        "that operator there; the winner's are marked."
    )
    return Story("What good architectures have in common", text, grid(columns, rows, cells))


def choices_story(space: Space, log_probabilities: Sequence[Sequence[float]], winner: Sequence[int]) -> Story:
    """ProxylessNAS: the probability of each operator when the training ended."""
    columns, rows = _names(space)
    cells: dict[tuple[int, int], Cell] = {}
    for place, (layer, scores) in enumerate(zip(space.layers, log_probabilities, strict=True)):
        for index, score in enumerate(scores):
            chance = math.exp(score)
            tip = f"{layer.name}, {layer.candidates[index].short}: probability {chance:.2f}"
            cells[place, _place(layer, rows, index)] = Cell(chance, index == int(winner[place]), tip)
    return Story(
        "What the gradient chose",
        "The darker, the more probable an operator was at the end; the winner's are marked.",
        grid(columns, rows, cells),
    )
