"""Widening or narrowing a found network to its counted budget, as NSE does with the last ones (section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nascli.costmodel import Constraint, counted
from nascli.spaces.architecture import singleton_space
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.space import Space

# Widths are rounded to multiples of 8, so finer steps than these change nothing.
_STEPS = 1.0 + 0.005 * np.arange(-120, 161)


def rescale_to_budget(space: Space, code: Sequence[int], constraints: Sequence[Constraint]) -> Space:
    """The space with the largest width in which an architecture keeps its counted budgets.

    Args:
        space: that the architecture was found in; it has a parameter `width`.
        code: the architecture's.
        constraints: counted ones, each with an upper bound.

    Returns:
        the same space at another width; `space` itself where no width is better, or it has no widths.
    """
    if not takes_parameter(space.name, "width"):
        return space
    width = float(dict(space.parameters).get("width", 1.0))

    def at(step: float) -> Space:
        return make_space(space.name, **{**dict(space.parameters), "width": round(width * step, 6)})

    def fits(made: Space) -> bool:
        own, own_code = singleton_space(made, code)
        row = own.check(np.array([own_code]))
        return all(float(counted(own, c.name)(row)[0]) <= c.high for c in constraints)

    # Costs grow with the width: the last step that fits is found by halving.
    low, high = 0, len(_STEPS) - 1
    if not fits(at(_STEPS[low])):
        return space
    while low < high:
        middle = (low + high + 1) // 2
        if fits(at(_STEPS[middle])):
            low = middle
        else:
            high = middle - 1
    return at(_STEPS[low])
