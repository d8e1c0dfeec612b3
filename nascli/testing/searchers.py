"""The contract of a searcher: subclass `SearcherContract`, give it a searcher, and let pytest collect it."""

from __future__ import annotations

import numpy as np

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted
from nascli.search.base import Choices, Score, Searcher
from nascli.spaces.catalog import load_space
from nascli.spaces.space import Population

_MAX_BATCHES = 10_000


def additive_scores(population: Population) -> list[Score]:
    """Return scores that a searcher can learn: sums of a fixed value per layer and choice.

    Args:
        population: `(n, layers)` architectures.
    """
    values = np.random.default_rng(9).random((population.shape[1], 64))
    return [Score(float(values[np.arange(len(row)), row].sum())) for row in population.astype(int)]


class SearcherContract:
    """Tests that hold for any searcher of a feasible set.

    Attributes:
        evaluations: The number of evaluations that the searcher is asked for.
    """

    evaluations = 24

    def searcher(self, feasible: FeasibleSet, evaluations: int, seed: int) -> Searcher:
        """Make the searcher under test.

        Args:
            feasible: The architectures to search.
            evaluations: The number of architectures to evaluate.
            seed: The seed from which all its randomness follows.
        """
        raise TypeError("override searcher()")

    def feasible(self, share: float = 0.4) -> FeasibleSet:
        """Return a feasible set of about a share of the architectures of a small space."""
        space = load_space("proxyless-mini:depth=1,width=0.25,resolution=8")
        cost = counted(space, "macs")
        draws = cost(space.sample(2000, np.random.default_rng(0)))
        limit = float(np.quantile(draws, share))
        return FeasibleSet(space, [BoundedCost(Constraint("macs", -np.inf, limit), cost)])

    def run(self, feasible: FeasibleSet, seed: int) -> list[Choices]:
        """Run a new searcher to its end, and return every architecture that it asks for, in order."""
        searcher = self.searcher(feasible, self.evaluations, seed)
        asked: list[Choices] = []
        for _ in range(_MAX_BATCHES):
            population = searcher.ask()
            if len(population) == 0:
                return asked
            assert population.shape[1] == len(feasible.space.layers)
            asked += [tuple(int(choice) for choice in row) for row in population]
            searcher.tell(population, additive_scores(population))
        raise AssertionError(f"the search does not end; it asked for {len(asked)} architectures")

    def test_it_is_named_and_says_how_long_it_takes(self) -> None:
        """Progress shows both."""
        searcher = self.searcher(self.feasible(), self.evaluations, 0)
        assert searcher.name and searcher.expected > 0

    def test_it_asks_for_feasible_architectures_once_each(self) -> None:
        """No architecture breaks a budget, and none is evaluated twice."""
        feasible = self.feasible()
        asked = self.run(feasible, 0)
        assert asked and len(asked) == len(set(asked))
        assert feasible.contains(np.array(asked, dtype=feasible.space.dtype)).all()

    def test_it_asks_the_same_again(self) -> None:
        """Told the same scores, it asks for the same architectures: this is how a killed search resumes."""
        feasible = self.feasible()
        assert self.run(feasible, 3) == self.run(feasible, 3)

    def test_it_ends_where_the_feasible_set_does(self) -> None:
        """A set smaller than the number of evaluations is searched to its end, and not for ever."""
        feasible = self.feasible(0.004)
        asked = self.run(feasible, 0)
        assert 0 < len(asked) <= feasible.count()
