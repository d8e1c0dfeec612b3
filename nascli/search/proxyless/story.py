"""What the gradient of ProxylessNAS chose, as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nascli.report.story import Cell, Story, grid, operator_rows, row_of
from nascli.spaces.space import Space


def choices_story(space: Space, log_probabilities: Sequence[Sequence[float]], winner: Sequence[int]) -> Story:
    """ProxylessNAS: the probability of each operator when the training ended."""
    columns, rows = operator_rows(space)
    cells: dict[tuple[int, int], Cell] = {}
    for place, (layer, scores) in enumerate(zip(space.layers, log_probabilities, strict=True)):
        for index, score in enumerate(scores):
            chance = math.exp(score)
            tip = f"{layer.name}, {layer.candidates[index].short}: probability {chance:.2f}"
            cells[place, row_of(layer, rows, index)] = Cell(chance, index == int(winner[place]), tip)
    return Story(
        "What the gradient chose",
        "The darker, the more probable an operator was at the end; the winner's are marked.",
        grid(columns, rows, cells),
    )
