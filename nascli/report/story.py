"""Pictures of how a search went, for its report: a story, and a grid of layers and operators to tell it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from nascli.spaces.space import Space

# In pixels: the side of a square, the height of the columns' names, and the width of a letter.
_SQUARE, _TOP, _LETTER = 22, 74, 6.9


@dataclass(frozen=True)
class Story:
    """A picture, and how to read it.

    Attributes:
        title: The heading.
        text: A sentence or two that say what the picture shows.
        svg: The drawing, whose own text is escaped.
    """

    title: str
    text: str
    svg: str


@dataclass(frozen=True)
class GridCell:
    """One operator of one layer in a grid.

    Attributes:
        share: How dark the square is, from 0 to 1; it means what the story says.
        won: Whether the winner has the operator there.
        tip: The tooltip.
    """

    share: float
    won: bool
    tip: str


class OperatorGrid:
    """A grid of squares with the layers of a space across and its operators down.

    Operators of different layers that have the same short name share a row.

    Args:
        space: The space whose layers and operators the grid has.
    """

    def __init__(self, space: Space) -> None:
        self._layers = space.layers
        rows = dict.fromkeys(candidate.short for layer in space.layers for candidate in layer.candidates)
        self._rows = {name: number for number, name in enumerate(rows)}
        self._cells: dict[tuple[int, int], GridCell] = {}

    def _position(self, layer: int, candidate: int) -> tuple[int, int]:
        """Return the column and the row of a candidate."""
        return layer, self._rows[self._layers[layer].candidates[candidate].short]

    def put(self, layer: int, candidate: int, cell: GridCell) -> None:
        """Set the square of a candidate.

        Args:
            layer: The number of the layer.
            candidate: The number of the candidate in the layer.
            cell: What to draw.
        """
        self._cells[self._position(layer, candidate)] = cell

    def get(self, layer: int, candidate: int) -> GridCell | None:
        """Return the square of a candidate; None where nothing was put."""
        return self._cells.get(self._position(layer, candidate))

    def draw(self) -> str:
        """Return the grid as an ``<svg>`` element; the darker a square, the larger its share."""
        columns = [layer.name for layer in self._layers]
        left = 16 + round(_LETTER * max((len(name) for name in self._rows), default=0))
        width, height = left + _SQUARE * len(columns) + 48, _TOP + _SQUARE * len(self._rows) + 8
        parts = [
            f'<svg viewBox="0 0 {width} {height}" style="max-width:{width * 1.3:.0f}px" role="img" '
            'aria-label="survivors">'
        ]
        for column, name in enumerate(columns):
            x = left + _SQUARE * column + _SQUARE / 2 + 4
            parts.append(
                f'<text transform="translate({x} {_TOP - 6}) rotate(-55)" class="tick">{escape(name)}</text>'
            )
        for name, row in self._rows.items():
            y = _TOP + _SQUARE * row + _SQUARE / 2 + 4
            parts.append(f'<text x="{left - 8}" y="{y}" text-anchor="end" class="tick">{escape(name)}</text>')
        for (column, row), cell in sorted(self._cells.items()):
            style = "best" if cell.won else "cell"
            opacity = 1.0 if cell.won else 0.08 + 0.82 * cell.share
            parts.append(
                f'<rect class="{style}" x="{left + _SQUARE * column + 1}" y="{_TOP + _SQUARE * row + 1}" '
                f'width="{_SQUARE - 2}" height="{_SQUARE - 2}" rx="3" fill-opacity="{opacity:.2f}">'
                f"<title>{escape(cell.tip)}</title></rect>"
            )
        return "".join([*parts, "</svg>"])


def evaluated_story(
    space: Space, evaluated: Sequence[tuple[Sequence[int], float]], winner: Sequence[int]
) -> Story:
    """Draw how often each operator is in the best quarter of the evaluated architectures.

    Args:
        space: The space that was searched.
        evaluated: The choices and the score of each architecture.
        winner: The choices of the winner, which are marked.
    """
    ranked = [architecture for architecture, _ in sorted(evaluated, key=lambda pair: -pair[1])]
    best = ranked[: max(1, len(ranked) // 4)]
    grid = OperatorGrid(space)
    for number, layer in enumerate(space.layers):
        won = layer.chosen(int(winner[number]))
        for index, candidate in enumerate(layer.candidates):
            in_best, in_all = (
                sum(index in layer.chosen(int(architecture[number])) for architecture in group) / len(group)
                for group in (best, ranked)
            )
            # Candidates that differ in what the short name leaves out share a square: the more frequent one has it.
            other = grid.get(number, index)
            if other is None or in_best > other.share:
                tip = f"{layer.name}, {candidate.short}: in {in_best:.0%} of the best quarter, {in_all:.0%} of all"
                grid.put(number, index, GridCell(in_best, index in won, tip))
    text = (
        f"Of {len(ranked)} evaluated architectures, the best quarter by accuracy: the darker, the more of them have "
        "that operator there; the winner's are marked."
    )
    return Story("What good architectures have in common", text, grid.draw())
