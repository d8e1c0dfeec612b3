"""How the pool of PC-NAS grew, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nascli.report.story import Cell, Story, grid, operator_rows, row_of
from nascli.spaces.space import Space


def pools_story(space: Space, pools: Sequence[dict[str, Any]], winner: Sequence[int]) -> Story:
    """PC-NAS: the potential of each operator when its layer was decided, and what the pool kept."""
    columns, rows = operator_rows(space)
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
            cells[number, row_of(layer, rows, code)] = Cell(shown, winner[number] == code, tip)
    text = (
        "Layer by layer, left to right: the darker, the higher the expected accuracy of networks with that operator "
        "(best partial model); pale ones left the pool. The winner's are marked."
    )
    return Story("How the pool grew", text, grid(columns, rows, cells))
