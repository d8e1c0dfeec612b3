"""Networks widened or narrowed to their counted budget, as NSE does with its last ones (section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nascli.costmodel import Constraint, counted
from nascli.errors import ArchitectureError
from nascli.spaces.architecture import singleton_space
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.space import Space

# Factors of the width. Channels are rounded to multiples of 8, so that finer steps change nothing.
_FACTORS = 1.0 + 0.005 * np.arange(-120, 161)


def rescale_to_budget(space: Space, architecture: Sequence[int], constraints: Sequence[Constraint]) -> Space:
    """Return the space with the largest width in which an architecture keeps its counted budgets.

    Args:
        space: The space in which the architecture was found.
        architecture: The choice of each layer.
        constraints: Budgets on counted costs, each with an upper bound.

    Returns:
        The same space at another width; `space` itself if it has no parameter `width`, or if the architecture breaks a
        budget at every width.
    """
    if not takes_parameter(space.name, "width"):
        return space
    width = float(dict(space.parameters).get("width", 1.0))

    def resized(step: int) -> Space:
        parameters = {**dict(space.parameters), "width": round(width * _FACTORS[step], 6)}
        return make_space(space.name, **parameters)

    def is_allowed(step: int) -> bool:
        # A layer that keeps its channels may be skipped, and at another width it may no longer keep them.
        try:
            resized(step).check(np.array([architecture]))
        except ArchitectureError:
            return False
        return True

    def keeps_budgets(candidate: Space) -> bool:
        own, choices = singleton_space(candidate, architecture)
        row = own.check(np.array([choices]))
        return all(
            float(counted(own, constraint.name)(row)[0]) <= constraint.high for constraint in constraints
        )

    # Costs grow with the width, so that bisection finds the last step that keeps the budgets.
    steps = [step for step in range(len(_FACTORS)) if is_allowed(step)]
    low, high = 0, len(steps) - 1
    if not steps or not keeps_budgets(resized(steps[low])):
        return space
    while low < high:
        middle = (low + high + 1) // 2
        if keeps_budgets(resized(steps[middle])):
            low = middle
        else:
            high = middle - 1
    return resized(steps[low])
