"""SPOS's evolutionary search (Guo et al. 2020, Algorithm 1) over exact feasible sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.search.base import Score
from nascli.search.spos.settings import SposSettings
from nascli.spaces.space import Population

# How many draws an operator may spend per child that it owes, as in the authors' code.
_DRAWS = 10


class SposSearcher:
    """Half of each generation by crossover and half by mutation of the best so far, all feasible.

    No architecture is proposed twice. Where an operator runs out of new children, feasible architectures
    drawn at random take their place; the search ends early when none is left.
    """

    name = "spos"

    def __init__(self, feasible: FeasibleSet, settings: SposSettings, rng: np.random.Generator) -> None:
        self._feasible = feasible
        self._settings = settings
        self._rng = rng
        self._visited: set[tuple[int, ...]] = set()
        self._best: list[tuple[Score, tuple[int, ...]]] = []
        self._generation = 0

    @property
    def expected(self) -> int:
        """Population times generations, or all there are."""
        return int(min(self._settings.population * self._settings.generations, self._feasible.count()))

    def ask(self) -> Population:
        """The next generation; no rows after the last."""
        size = self._settings.population
        if self._generation >= self._settings.generations:
            return np.empty((0, len(self._feasible.space.layers)), self._feasible.space.dtype)
        self._generation += 1
        children: list[tuple[int, ...]] = []
        if self._best:
            children += self._mutants(size // 2)
            children += self._crosses(size - size // 2)
        children += self._strangers(size - len(children))
        layers = len(self._feasible.space.layers)
        return np.array(children, dtype=self._feasible.space.dtype).reshape(len(children), layers)

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """Keep the best over all generations."""
        new = [(score, tuple(int(code) for code in row)) for score, row in zip(scores, codes, strict=True)]
        ranked = sorted(self._best + new, key=lambda pair: pair[0], reverse=True)
        self._best = ranked[: self._settings.parents]

    def _new(self, drawn: Population, most: int) -> list[tuple[int, ...]]:
        fresh: list[tuple[int, ...]] = []
        for row in drawn:
            key = tuple(int(code) for code in row)
            if len(fresh) < most and key not in self._visited:
                self._visited.add(key)
                fresh.append(key)
        return fresh

    def _mutants(self, wanted: int) -> list[tuple[int, ...]]:
        picks = Counter(int(i) for i in self._rng.integers(0, len(self._best), wanted))
        children: list[tuple[int, ...]] = []
        for index, owed in sorted(picks.items()):
            parent = np.array(self._best[index][1], dtype=self._feasible.space.dtype)
            drawn = self._feasible.mutate(parent, self._settings.probability, _DRAWS * owed, self._rng)
            children += self._new(drawn, owed)
        return children

    def _crosses(self, wanted: int) -> list[tuple[int, ...]]:
        picks = Counter((int(a), int(b)) for a, b in self._rng.integers(0, len(self._best), (wanted, 2)))
        children: list[tuple[int, ...]] = []
        for (a, b), owed in sorted(picks.items()):
            first, second = (np.array(self._best[i][1], self._feasible.space.dtype) for i in (a, b))
            drawn = self._feasible.crossover(first, second, _DRAWS * owed, self._rng)
            children += self._new(drawn, owed)
        return children

    def _strangers(self, wanted: int) -> list[tuple[int, ...]]:
        if wanted <= 0:
            return []
        return self._new(self._feasible.sample(_DRAWS * wanted, self._rng), wanted)
