"""Sampling uniformly over bins of a cost (uniform constraint sampling of SPOS)."""

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
    """Sampler that draws a bin uniformly, and then an architecture uniformly from those whose cost lies in the bin.

    Attributes:
        space: The space.
        bins: Feasible sets of the bins that are not empty.
        empty: Lower and upper ends of the empty bins.
    """

    def __init__(
        self, space: Space, cost: ChainCost, edges: Sequence[float], others: Sequence[BoundedCost] = ()
    ) -> None:
        """Prepare the feasible sets of the bins.

        Args:
            space: The space.
            cost: Cost that is divided into bins.
            edges: Ascending ends of the bins in SI units, such as 290M, 300M, ..., 360M MACs in SPOS.
            others: Budgets that hold in all bins.

        Raises:
            ConstraintError: There are fewer than two edges, or they are not ascending.
            InfeasibleError: All bins are empty.
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
        """Draw `(n, layers)` architectures."""
        bins = rng.integers(0, len(self.bins), n)
        population = np.empty((n, len(self.space.layers)), dtype=self.space.dtype)
        for number, feasible in enumerate(self.bins):
            rows = np.flatnonzero(bins == number)
            if len(rows):
                population[rows] = feasible.sample(len(rows), rng)
        return population
