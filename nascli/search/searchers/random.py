"""Random search over a feasible set: the baseline of every other search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.errors import NascliError
from nascli.search.base import Score
from nascli.spaces.space import Population

_BATCH = 10


class RandomSearcher:
    """Distinct architectures, drawn uniformly from the feasible set.

    Args:
        feasible: The architectures to search.
        evaluations: The number of architectures to evaluate.
        rng: The source of randomness.

    Raises:
        NascliError: `evaluations` is below 1.
    """

    name = "random"

    def __init__(self, feasible: FeasibleSet, evaluations: int, rng: np.random.Generator) -> None:
        if evaluations < 1:
            raise NascliError(f"evaluations >= 1 must hold, got {evaluations}")
        self._population = feasible.sample_distinct(evaluations, rng)
        self._asked = 0

    @property
    def expected(self) -> int:
        """The number of evaluations: the wanted number, or the size of a smaller feasible set."""
        return len(self._population)

    def ask(self) -> Population:
        """Return the next ten architectures."""
        rows = self._population[self._asked : self._asked + _BATCH]
        self._asked += len(rows)
        return rows

    def tell(self, population: Population, scores: Sequence[Score]) -> None:
        """Ignore the scores."""
