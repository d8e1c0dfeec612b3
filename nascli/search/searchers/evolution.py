"""Regularised evolution (Real et al. 2019, Algorithm 1) over a feasible set: the oldest of the population dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.errors import NascliError
from nascli.search.base import Choices, Score
from nascli.spaces.space import Population

# Mutants that are drawn at a time to find one that was never proposed.
_DRAWS = 20


class RegularisedEvolution:
    """Tournaments within the living population; a mutant of the winner replaces the oldest member.

    Args:
        feasible: The architectures to search.
        evaluations: The number of architectures to evaluate.
        rng: The source of randomness.
        population: The number of living architectures.
        tournament: The number of architectures that compete to become the parent.

    Raises:
        NascliError: 1 <= tournament <= population and evaluations >= 1 does not hold.
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
        self._remaining = min(evaluations, feasible.count())
        self._expected = self._remaining
        self._tournament = tournament
        self._living: deque[tuple[Score, Choices]] = deque(maxlen=population)
        self._proposed: set[Choices] = set()
        self._first_population = feasible.sample_distinct(min(population, self._remaining), rng)

    @property
    def expected(self) -> int:
        """The number of evaluations: the wanted number, or the size of a smaller feasible set."""
        return self._expected

    def ask(self) -> Population:
        """Return the first population, and then one child at a time."""
        layers = len(self._feasible.space.layers)
        if self._remaining <= 0:
            return np.empty((0, layers), self._feasible.space.dtype)
        rows = self._child() if self._proposed else self._first_population
        self._remaining -= len(rows)
        self._proposed.update(tuple(int(choice) for choice in row) for row in rows)
        return rows

    def _child(self) -> Population:
        """Return a new mutant of the tournament's winner, else a new random architecture, else no rows."""
        rivals = self._rng.choice(len(self._living), min(self._tournament, len(self._living)), replace=False)
        _, winner = max((self._living[int(i)] for i in rivals), key=lambda pair: pair[0])
        parent = np.array(winner, dtype=self._feasible.space.dtype)
        probability = max(0.1, 1 / len(parent))
        for rows in (
            self._feasible.mutate(parent, probability, _DRAWS, self._rng),
            self._feasible.sample(10 * _DRAWS, self._rng),
        ):
            for row in rows:
                if tuple(int(choice) for choice in row) not in self._proposed:
                    child: Population = row[None]
                    return child
        self._remaining = 0
        return np.empty((0, len(parent)), self._feasible.space.dtype)

    def tell(self, population: Population, scores: Sequence[Score]) -> None:
        """Add the scored architectures to the population, from which the oldest drop out."""
        for row, score in zip(population, scores, strict=True):
            self._living.append((score, tuple(int(choice) for choice in row)))
