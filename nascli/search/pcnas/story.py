"""The picture of a PC-NAS run: how the pool grew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nascli.report.story import GridCell, OperatorGrid, Story
from nascli.search.pcnas.search import PoolExtension
from nascli.spaces.space import Space


def pools_story(space: Space, extensions: Sequence[PoolExtension], winner: Sequence[int]) -> Story:
    """Draw the potential of each operator when its layer was decided, and which operators the pool kept.

    Args:
        space: The space that was searched.
        extensions: The extension of the pool at each layer.
        winner: The choices of the winner, which are marked.
    """
    grid = OperatorGrid(space)
    for number, (layer, extension) in enumerate(zip(space.layers, extensions, strict=False)):
        # An operator extends several partial models: its best potential counts.
        best: dict[int, float] = {}
        for model in extension.candidates:
            if np.isfinite(model.potential):
                choice = model.choices[number]
                best[choice] = max(best.get(choice, -1.0), model.potential)
        in_pool = {model.choices[number] for model in extension.pool}
        low, high = min(best.values()), max(best.values())
        for choice, potential in best.items():
            share = (potential - low) / (high - low) if high > low else 1.0
            darkness = 0.5 + 0.5 * share if choice in in_pool else 0.25 * share
            tip = f"{layer.name}, {layer.candidates[choice].short}: potential {potential:.3f}"
            tip += ", kept" if choice in in_pool else ", dropped"
            grid.put(number, choice, GridCell(darkness, winner[number] == choice, tip))
    text = (
        "Layer by layer, left to right: the darker, the higher the expected accuracy of networks with that operator "
        "(best partial model); pale ones left the pool. The winner's are marked."
    )
    return Story("How the pool grew", text, grid.draw())
