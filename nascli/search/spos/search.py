"""The evolution of SPOS (Guo et al. 2020, Algorithm 1) over an exact feasible set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.search.base import Choices, Score
from nascli.search.spos.settings import SposSettings
from nascli.spaces.space import Population

# Draws for each child that is wanted, as in the authors' code.
_DRAWS = 10


class SposSearcher:
    """Evolution of feasible architectures, half of each generation by mutation and half by crossover of the best.

    The first generation is drawn uniformly. No architecture is proposed twice. If mutation and crossover find too few
    new children, feasible architectures drawn uniformly take their place; the search ends early when none is left.

    Args:
        feasible: The architectures to search.
        settings: The sizes of generations and parents, and the rate of mutation.
        rng: The source of randomness.
    """

    name = "spos"

    def __init__(self, feasible: FeasibleSet, settings: SposSettings, rng: np.random.Generator) -> None:
        self._feasible = feasible
        self._settings = settings
        self._rng = rng
        self._proposed: set[Choices] = set()
        self._parents: list[tuple[Score, Choices]] = []
        self._generation = 0

    @property
    def expected(self) -> int:
        """The number of evaluations: population times generations, or the size of a smaller feasible set."""
        return int(min(self._settings.population * self._settings.generations, self._feasible.count()))

    def ask(self) -> Population:
        """Return the next generation; no rows after the last one."""
        size = self._settings.population
        children: list[Choices] = []
        if self._generation < self._settings.generations:
            self._generation += 1
            if self._parents:
                children += self._mutants(size // 2)
                children += self._crossovers(size - size // 2)
            children += self._random_children(size - len(children))
        layers = len(self._feasible.space.layers)
        return np.array(children, dtype=self._feasible.space.dtype).reshape(len(children), layers)

    def tell(self, population: Population, scores: Sequence[Score]) -> None:
        """Keep the best of all generations as parents."""
        new = [
            (score, tuple(int(choice) for choice in row))
            for score, row in zip(scores, population, strict=True)
        ]
        ranked = sorted(self._parents + new, key=lambda pair: pair[0], reverse=True)
        self._parents = ranked[: self._settings.parents]

    def _first_new(self, population: Population, count: int) -> list[Choices]:
        """Take the first rows that were never proposed, at most `count`, and remember them as proposed."""
        new: list[Choices] = []
        for row in population:
            architecture = tuple(int(choice) for choice in row)
            if len(new) < count and architecture not in self._proposed:
                self._proposed.add(architecture)
                new.append(architecture)
        return new

    def _parent(self, index: int) -> Population:
        """Return one parent as a row."""
        return np.array(self._parents[index][1], dtype=self._feasible.space.dtype)

    def _mutants(self, count: int) -> list[Choices]:
        picks = Counter(int(index) for index in self._rng.integers(0, len(self._parents), count))
        children: list[Choices] = []
        for index, wanted in sorted(picks.items()):
            drawn = self._feasible.mutate(
                self._parent(index), self._settings.probability, _DRAWS * wanted, self._rng
            )
            children += self._first_new(drawn, wanted)
        return children

    def _crossovers(self, count: int) -> list[Choices]:
        pairs = self._rng.integers(0, len(self._parents), (count, 2))
        picks = Counter((int(first), int(second)) for first, second in pairs)
        children: list[Choices] = []
        for (first, second), wanted in sorted(picks.items()):
            drawn = self._feasible.crossover(
                self._parent(first), self._parent(second), _DRAWS * wanted, self._rng
            )
            children += self._first_new(drawn, wanted)
        return children

    def _random_children(self, count: int) -> list[Choices]:
        if count <= 0:
            return []
        return self._first_new(self._feasible.sample(_DRAWS * count, self._rng), count)
