"""The picture of a ProxylessNAS run: the operators that became probable."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nascli.report.story import GridCell, OperatorGrid, Story
from nascli.spaces.space import Space


def probabilities_story(
    space: Space, log_probabilities: Sequence[Sequence[float]], winner: Sequence[int]
) -> Story:
    """Draw the probability that each operator had when the training ended.

    Args:
        space: The space that was searched.
        log_probabilities: The logarithm of each candidate's probability, per layer.
        winner: The choices of the winner, which are marked.
    """
    grid = OperatorGrid(space)
    for layer, (candidates, logarithms) in enumerate(zip(space.layers, log_probabilities, strict=True)):
        for index, logarithm in enumerate(logarithms):
            probability = math.exp(logarithm)
            tip = f"{candidates.name}, {candidates.candidates[index].short}: probability {probability:.2f}"
            grid.put(layer, index, GridCell(probability, index == int(winner[layer]), tip))
    return Story(
        "What the gradient chose",
        "The darker, the more probable an operator was at the end; the winner's are marked.",
        grid.draw(),
    )
