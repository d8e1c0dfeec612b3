"""The contract of a cost model. Subclass a suite, give it a space and a cost, and let pytest collect it."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet
from nascli.spaces.space import Space

# Sums in another order differ by so much of the largest figure.
_ROUNDING = 1e-12
_DRAWS = 200
_ENUMERATED = 100_000


class Sampled(Protocol):
    """What a cost needs of a space: architectures at random."""

    def sample(self, n: int, rng: np.random.Generator) -> npt.NDArray[Any]:
        """`(n, genes)` architectures."""


class CostModel(Protocol):
    """What searches need of a cost: whole populations, and how low and how high it goes."""

    @property
    def name(self) -> str:
        """What constraints call it."""

    def __call__(self, population: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """`(n,)` in SI units."""

    @property
    def minimum(self) -> float:
        """The lowest figure."""

    @property
    def maximum(self) -> float:
        """The highest figure."""


class CostModelContract:
    """Tests that hold for any cost of architectures."""

    def space(self) -> Sampled:
        """Whose architectures."""
        raise TypeError("override space()")

    def cost(self) -> CostModel:
        """The cost under test."""
        raise TypeError("override cost()")

    def drawn(self) -> npt.NDArray[Any]:
        """Architectures at random."""
        return self.space().sample(_DRAWS, np.random.default_rng(0))

    def test_it_is_named(self) -> None:
        """What a constraint calls it."""
        assert self.cost().name

    def test_it_gives_one_finite_figure_each(self) -> None:
        """Whole populations at once; none of them is changed."""
        codes, cost = self.drawn(), self.cost()
        kept = codes.copy()
        figures = cost(codes)
        assert figures.shape == (len(codes),) and figures.dtype == np.float64
        assert bool(np.all(np.isfinite(figures)) and np.all(figures >= 0))
        assert np.array_equal(codes, kept)
        assert cost(codes[:0]).shape == (0,)

    def test_a_figure_does_not_depend_on_the_others(self) -> None:
        """Alone, or anywhere in a population, an architecture costs the same."""
        codes, cost = self.drawn(), self.cost()
        figures = cost(codes)
        order = np.random.default_rng(1).permutation(len(codes))
        assert np.array_equal(cost(codes[order]), figures[order])
        assert [float(cost(row[None])[0]) for row in codes[:10]] == figures[:10].tolist()

    def test_it_tells_architectures_apart(self) -> None:
        """A constant can bound nothing."""
        assert len(np.unique(self.cost()(self.drawn()))) > 1

    def test_no_architecture_is_beyond_its_bounds(self) -> None:
        """Budgets are refused by them."""
        cost = self.cost()
        figures, slack = cost(self.drawn()), _ROUNDING * abs(cost.maximum)
        assert cost.minimum - slack <= figures.min() and figures.max() <= cost.maximum + slack


class ChainCostContract(CostModelContract):
    """What holds besides for costs that feasible sets are computed with; give it a space of at most 100,000."""

    def space(self) -> Space:
        """Whose architectures."""
        raise TypeError("override space()")

    def cost(self) -> ChainCost:
        """The cost under test."""
        raise TypeError("override cost()")

    def everything(self) -> npt.NDArray[Any]:
        """Every architecture of the space."""
        space = self.space()
        assert space.size <= _ENUMERATED, f"{space.name} has {space.size:,} architectures"
        allowed = []
        for layer in space.layers:
            codes = range(1 << len(layer.candidates) if space.multi_branch else len(layer.candidates))
            allowed.append([code for code in codes if layer.problem(code) is None])
        return np.array(list(itertools.product(*allowed)), dtype=space.dtype)

    def test_its_bounds_are_reached(self) -> None:
        """The cheapest and the most expensive architecture cost what it says."""
        cost = self.cost()
        figures, slack = cost(self.everything()), _ROUNDING * abs(cost.maximum)
        assert abs(figures.min() - cost.minimum) <= slack and abs(figures.max() - cost.maximum) <= slack

    def test_a_budget_holds_what_costs_no_more(self) -> None:
        """The feasible set counts what counting one by one finds, and draws nothing else."""
        space, cost = self.space(), self.cost()
        figures = cost(self.everything())
        ordered = np.unique(figures)
        # Between two figures that differ by more than rounding, there is one right answer.
        gaps = np.flatnonzero(np.diff(ordered) > 1e-6 * ordered[-1])
        place = int(gaps[len(gaps) // 2])
        limit = float((ordered[place] + ordered[place + 1]) / 2)
        feasible = FeasibleSet(space, [BoundedCost(Constraint(cost.name, -np.inf, limit), cost)])
        inside = int(np.count_nonzero(figures <= limit))
        # Grids round to the safe side: what is counted may be a little less, and is never too much.
        assert 0.9 * inside <= feasible.count() <= inside
        assert bool(np.all(cost(feasible.sample(_DRAWS, np.random.default_rng(2))) <= limit))

    def test_it_is_the_same_after_a_document(self) -> None:
        """To the last bit, as run folders keep it."""
        codes, cost = self.drawn(), self.cost()
        assert np.array_equal(ChainCost.from_json(cost.to_json())(codes), cost(codes))
