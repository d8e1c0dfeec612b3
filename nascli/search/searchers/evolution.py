"""Regularised evolution (Real et al. 2019) over exact feasible sets: the oldest of the population dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.errors import NascliError
from nascli.search.base import Score
from nascli.spaces.space import Population

# Draws that a child may spend until it is one that was never proposed.
_DRAWS = 20


class RegularisedEvolution:
    """Tournaments among the youngest; the winner's child replaces the oldest.

    Args:
        feasible: where to search.
        evaluations: how many architectures are evaluated.
        rng: the source of randomness.
        population: that is alive.
        tournament: architectures that compete for a child.
    """

    name = "evolution"

    def __init__(
        self,
        feasible: FeasibleSet,
        evaluations: int,
        rng: np.random.Generator,
        *,
        population: int = 20,
        tournament: int = 5,
    ) -> None:
        if not 1 <= tournament <= population or evaluations < 1:
            raise NascliError(
                f"1 <= tournament <= population and evaluations >= 1 must hold, got {tournament}, {population} "
                f"and {evaluations}"
            )
        self._feasible, self._rng = feasible, rng
        self._left = min(evaluations, feasible.count())
        self._expected = self._left
        self._tournament = tournament
        self._alive: deque[tuple[Score, tuple[int, ...]]] = deque(maxlen=population)
        self._visited: set[tuple[int, ...]] = set()
        self._first = feasible.sample_distinct(min(population, self._left), rng)

    @property
    def expected(self) -> int:
        """As many as asked for, or all there are."""
        return self._expected

    def ask(self) -> Population:
        """The first population, then one child at a time."""
        layers = len(self._feasible.space.layers)
        if self._left <= 0:
            return np.empty((0, layers), self._feasible.space.dtype)
        rows = self._first if not self._visited else self._child()
        self._left -= len(rows)
        self._visited.update(tuple(int(c) for c in row) for row in rows)
        return rows

    def _child(self) -> Population:
        rivals = self._rng.choice(len(self._alive), min(self._tournament, len(self._alive)), replace=False)
        best = max((self._alive[int(i)] for i in rivals), key=lambda pair: pair[0])
        parent = np.array(best[1], dtype=self._feasible.space.dtype)
        probability = max(0.1, 1 / len(parent))
        for rows in (
            self._feasible.mutate(parent, probability, _DRAWS, self._rng),
            self._feasible.sample(10 * _DRAWS, self._rng),
        ):
            for row in rows:
                if tuple(int(c) for c in row) not in self._visited:
                    child: Population = row[None]
                    return child
        self._left = 0
        return np.empty((0, len(parent)), self._feasible.space.dtype)

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """The newest join; the oldest fall out."""
        for row, score in zip(codes, scores, strict=True):
            self._alive.append((score, tuple(int(c) for c in row)))
