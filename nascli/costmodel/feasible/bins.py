"""Sampling uniformly over bins of a cost (SPOS's uniform constraint sampling), each bin exactly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.constraints import Constraint
from nascli.costmodel.feasible.axes import BoundedCost
from nascli.costmodel.feasible.feasible_set import FeasibleSet
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces.space import Population, Space


class BinnedSampler:
    """Draws a bin uniformly, then an architecture uniformly from those whose cost lies in it."""

    def __init__(
        self, space: Space, cost: ChainCost, edges: Sequence[float], others: Sequence[BoundedCost] = ()
    ) -> None:
        """Prepare the bins; empty ones are left out and listed in `empty`.

        Args:
            space: where to draw from.
            cost: what is binned.
            edges: ascending ends of the bins, in SI units; SPOS has 290M to 360M MACs by 10M.
            others: budgets that hold in all bins.

        Raises:
            ConstraintError: fewer than two edges, or not ascending.
            InfeasibleError: every bin is empty.
        """
        if len(edges) < 2 or any(a >= b for a, b in pairwise(edges)):
            raise ConstraintError(f"bins need at least two ascending edges, got {list(edges)}")
        self.space = space
        self.bins: list[FeasibleSet] = []
        self.empty: list[tuple[float, float]] = []
        for low, high in pairwise(edges):
            budget = BoundedCost(Constraint(cost.name, low, high), cost)
            try:
                self.bins.append(FeasibleSet(space, [budget, *others]))
            except InfeasibleError:
                self.empty.append((low, high))
        if not self.bins:
            raise InfeasibleError(
                f"no architecture of {space.name} has {cost.name} in {cost.format(edges[0])} to "
                f"{cost.format(edges[-1])}."
            )

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """`(n, layers)` architectures."""
        which = rng.integers(0, len(self.bins), n)
        codes = np.empty((n, len(self.space.layers)), dtype=self.space.dtype)
        for number, part in enumerate(self.bins):
            here = np.flatnonzero(which == number)
            if len(here):
                codes[here] = part.sample(len(here), rng)
        return codes
