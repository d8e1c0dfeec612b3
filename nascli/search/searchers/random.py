"""Random feasible architectures: what every search has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.errors import NascliError
from nascli.search.base import Score
from nascli.spaces.space import Population


class RandomSearcher:
    """Distinct architectures, uniform over the feasible set."""

    name = "random"

    def __init__(self, feasible: FeasibleSet, evaluations: int, rng: np.random.Generator) -> None:
        if evaluations < 1:
            raise NascliError(f"evaluations >= 1 must hold, got {evaluations}")
        self._codes = feasible.sample_distinct(evaluations, rng)
        self._asked = 0

    @property
    def expected(self) -> int:
        """How many are evaluated: as many as asked for, or all there are."""
        return len(self._codes)

    def ask(self) -> Population:
        """The next ten."""
        codes = self._codes[self._asked : self._asked + 10]
        self._asked += len(codes)
        return codes

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """Nothing is learned."""
