"""The contract of a searcher. Subclass `SearcherContract`, give it a searcher, and let pytest collect it."""

from __future__ import annotations

import numpy as np

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted
from nascli.search.base import Score, Searcher
from nascli.spaces.catalog import load_space
from nascli.spaces.space import Population

_MOST_BATCHES = 10_000


def worth(codes: Population) -> list[Score]:
    """A score that a searcher can learn: a fixed worth per layer and operator."""
    table = np.random.default_rng(9).random((codes.shape[1], 64))
    return [Score(float(table[np.arange(len(row)), row].sum())) for row in codes.astype(int)]


class SearcherContract:
    """Tests that hold for any searcher of a feasible set."""

    evaluations = 24

    def searcher(self, feasible: FeasibleSet, evaluations: int, seed: int) -> Searcher:
        """A new searcher; all of its randomness follows from the seed."""
        raise TypeError("override searcher()")

    def feasible(self, share: float = 0.4) -> FeasibleSet:
        """A budget that some of a small space's architectures keep."""
        space = load_space("proxyless-mini:depth=1,width=0.25,resolution=8")
        cost = counted(space, "macs")
        draws = cost(space.sample(2000, np.random.default_rng(0)))
        limit = float(np.quantile(draws, share))
        return FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), cost)])

    def run(self, feasible: FeasibleSet, seed: int) -> list[tuple[int, ...]]:
        """Every architecture that a searcher asks for, in order."""
        searcher = self.searcher(feasible, self.evaluations, seed)
        asked: list[tuple[int, ...]] = []
        for _ in range(_MOST_BATCHES):
            codes = searcher.ask()
            if len(codes) == 0:
                return asked
            assert codes.shape[1] == len(feasible.space.layers)
            asked += [tuple(int(c) for c in row) for row in codes]
            searcher.tell(codes, worth(codes))
        raise AssertionError(f"the search does not end; it asked for {len(asked)} architectures")

    def test_it_is_named_and_says_how_long_it_takes(self) -> None:
        """What progress shows."""
        searcher = self.searcher(self.feasible(), self.evaluations, 0)
        assert searcher.name and searcher.expected > 0

    def test_it_asks_for_feasible_architectures_once_each(self) -> None:
        """No budget is broken, and nothing is paid for twice."""
        feasible = self.feasible()
        asked = self.run(feasible, 0)
        assert asked and len(asked) == len(set(asked))
        assert feasible.contains(np.array(asked, dtype=feasible.space.dtype)).all()

    def test_it_asks_the_same_again(self) -> None:
        """Replayed with the same scores it asks the same: so a killed search resumes."""
        feasible = self.feasible()
        assert self.run(feasible, 3) == self.run(feasible, 3)

    def test_it_ends_where_the_feasible_set_does(self) -> None:
        """A set smaller than the wished number of evaluations is not searched for ever."""
        feasible = self.feasible(0.004)
        asked = self.run(feasible, 0)
        assert 0 < len(asked) <= feasible.count()
