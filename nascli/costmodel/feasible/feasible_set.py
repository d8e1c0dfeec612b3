"""The exact set of architectures within budgets, to be counted and sampled.

A dynamic programme from the last layer to the first computes, for every layer and every amount of budget that may be
left, the weight of all feasible completions. Drawing choices forward by these weights samples exactly from the feasible
set. With one budget, nothing is rejected. Several budgets share a grid, whose cells are then coarse: draws come from a
larger set that lacks no feasible architecture, and the few draws outside a bound are rejected.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nascli.costmodel.feasible.axes import ROUNDING, BoundedCost, BudgetAxis, exact_size, make_axis
from nascli.costmodel.feasible.diagnosis import explain_infeasible, find_feasible
from nascli.costmodel.feasible.layers import BranchWeights, CountArithmetic, SumArithmetic, Table
from nascli.costmodel.feasible.programme import ChoiceWeights, DynamicProgramme
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces.blocks import Layer
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
# States per table with one budget and with several. Multi-branch layers have a table per number of branches.
_STATES = {False: (1 << 16, 1 << 18), True: (1 << 14, 1 << 16)}
_MAX_STATES = 1 << 22
_MAX_RESOLUTION = 64.0
# Draws that estimate which share of a relaxed grid is feasible.
_TRIAL_DRAWS = 4096
# Minimum and maximum number of draws at a time, and maximum number of draws for each wanted architecture.
_MIN_BATCH, _MAX_BATCH, _MAX_DRAWS_EACH = 256, 1 << 16, 64
# Up to this number, the architectures of a relaxed grid are checked one by one.
_MAX_CHECKED = 4096
# The largest primes below 2^62, so that the sum of two residues fits 64 bits.
_PRIMES = tuple(
    2**62 - k for k in (57, 87, 117, 143, 153, 167, 171, 195, 203, 273, 287, 317, 443, 483, 495, 575)
)


class FeasibleSet:
    """All architectures of a space that satisfy every budget.

    Attributes:
        space: The space.
        budgets: The bounded costs.
        grid: The dynamic programme on a grid on which every architecture is feasible.
    """

    def __init__(self, space: Space, budgets: Sequence[BoundedCost], *, resolution: float = 1.0) -> None:
        """Prepare the tables of the dynamic programme.

        Args:
            space: Single-path or multi-branch space.
            budgets: Any number of bounded chain costs of that space.
            resolution: Factor of the number of grid cells. Finer grids lose less at the bounds.

        Raises:
            InfeasibleError: No architecture satisfies the budgets. The message says which bind, and by how much.
            ConstraintError: All feasible architectures are so close to a bound that no affordable grid resolves them.
        """
        self.space = space
        self.budgets = tuple(budgets)
        for budget in self.budgets:
            _require_reachable(space, budget)
        binding = [budget for budget in self.budgets if budget.binds]
        while True:
            self._prepare(binding, resolution)
            if self._total(self.grid, self._tables) > 0:
                return
            if all(axis.exact for axis in self.axes) or resolution >= _MAX_RESOLUTION:
                break
            if self._relaxed is not None:
                if self._feasible_share:
                    return
                if not self._total(*self._relaxed):
                    break
            # The grid may be too coarse; what rounding lost must not be called infeasible.
            resolution *= 4
        architecture = find_feasible(space, binding)
        if architecture is None:
            raise InfeasibleError(*explain_infeasible(space, binding))
        raise ConstraintError(
            f"architectures such as {architecture} satisfy the constraints, but lie closer to the bounds than the "
            f"grid resolves ({self._slack_text()}).",
            "Widen a bound by that much.",
        )

    def _prepare(self, binding: Sequence[BoundedCost], resolution: float) -> None:
        self._uniform: list[ChoiceWeights] = [_uniform_weights(layer) for layer in self.space.layers]
        self.grid = DynamicProgramme(self.space, _axes(self.space, binding, resolution))
        self._tables = self.grid.backward(SumArithmetic(), self._uniform)
        self.__dict__.pop("_relaxed", None)
        self.__dict__.pop("_feasible_share", None)

    @cached_property
    def _relaxed(self) -> tuple[DynamicProgramme, list[Table]] | None:
        """A grid that lacks no feasible architecture and has some infeasible ones; None if `grid` lacks none.

        Several budgets share the states of a table, so that each has few, and rounding loses a part of the feasible
        set. Draws from this grid that satisfy the real constraints are draws from the whole feasible set.
        """
        if len(self.axes) < 2 or all(axis.exact for axis in self.axes):
            return None
        axes = [make_axis(axis.budget, axis.size, relaxed=True) for axis in self.axes]
        grid = DynamicProgramme(self.space, axes)
        return grid, grid.backward(SumArithmetic(), self._uniform)

    @cached_property
    def _feasible_share(self) -> float:
        return self._feasible_share_after(())

    def _feasible_share_after(self, prefix: tuple[int, ...]) -> float:
        """Return the share of the relaxed grid that satisfies the real constraints, estimated by fixed draws."""
        assert self._relaxed is not None
        grid, tables = self._relaxed
        if not _completes(grid, tables, prefix):
            return 0.0
        drawn = grid.draw(self._uniform, tables, _TRIAL_DRAWS, np.random.default_rng(0), prefix)
        return float(self.contains(drawn).mean())

    @property
    def relaxed(self) -> DynamicProgramme | None:
        """The grid that lacks no feasible architecture and has some infeasible ones; None if `grid` lacks none."""
        return None if self._relaxed is None else self._relaxed[0]

    @property
    def axes(self) -> list[BudgetAxis]:
        """The budgets that bind, as axes of `grid`."""
        return self.grid.axes

    @property
    def exact(self) -> bool:
        """Whether `count` gives the number of feasible architectures, up to `slack`, and not an estimate."""
        return self._relaxed is None or self._count_on(self._relaxed[0], ()) <= _MAX_CHECKED

    def _total(self, grid: DynamicProgramme, tables: list[Table]) -> float:
        return grid.entry(tables, (), np.array(grid.start))

    @property
    def slack(self) -> dict[str, float]:
        """By how much `grid` tightens the bounds of each cost at most, in the unit of the cost; 0 where it is exact."""
        tightened = {budget.cost.name: 0.0 for budget in self.budgets}
        return tightened | {axis.budget.cost.name: axis.slack for axis in self.axes}

    def _slack_text(self) -> str:
        return ", ".join(f"{a.budget.cost.name} {a.budget.cost.format(a.slack)}" for a in self.axes)

    def count(self, prefix: Sequence[int] = ()) -> int:
        """Return the number of feasible architectures that begin with a prefix.

        With one budget, the number is exact up to `slack`. With several budgets whose costs are not small integers, a
        large number is estimated from the share of 4,096 draws of a larger set that are feasible, and `exact` is false.

        Args:
            prefix: Choices of the first layers.
        """
        on_grid = self._count_on(self.grid, prefix)
        if self._relaxed is None:
            return on_grid
        grid, tables = self._relaxed
        candidates = self._count_on(grid, prefix)
        if candidates <= _MAX_CHECKED:
            return int(self.contains(self._rows(grid, tables, prefix)).sum())
        return max(on_grid, round(candidates * self._feasible_share_after(tuple(prefix))))

    def _count_on(self, grid: DynamicProgramme, prefix: Sequence[int]) -> int:
        left = grid.after(prefix)
        if left is None:
            return 0
        if self.space.size < 2**63:
            tables = grid.backward(CountArithmetic(None), self._uniform)
            return int(grid.entry(tables, prefix, left))
        total, modulus = 0, 1
        for prime in _PRIMES:
            tables = grid.backward(CountArithmetic(prime), self._uniform)
            residue = int(grid.entry(tables, prefix, left))
            # The Chinese remainder theorem for one further prime.
            total += modulus * ((residue - total) * pow(modulus, -1, prime) % prime)
            modulus *= prime
            if modulus > self.space.size:
                return total
        raise ConstraintError(f"{self.space.name} is too large to count exactly; see log10_count")

    def log10_count(self) -> float:
        """Return the decimal logarithm of `count()` in floating point; it is an estimate where `count` is."""
        on_grid = self._total(self.grid, self._tables)
        if self._relaxed is not None and self._feasible_share:
            return math.log10(max(on_grid, self._total(*self._relaxed) * self._feasible_share))
        return math.log10(on_grid)

    def contains(self, population: Population) -> npt.NDArray[np.bool_]:
        """Return which of `(n, layers)` architectures satisfy the real constraints."""
        feasible = np.ones(len(population), dtype=bool)
        for budget in self.budgets:
            feasible &= budget.holds(budget.cost(population))
        return feasible

    def sample(self, n: int, rng: np.random.Generator, prefix: Sequence[int] = ()) -> Population:
        """Draw feasible architectures uniformly.

        Args:
            n: Number of architectures.
            rng: Random generator.
            prefix: Choices of the first layers, with which all architectures begin.

        Returns:
            `(n, layers)` architectures.

        Raises:
            InfeasibleError: No feasible architecture begins with the prefix.
        """
        relaxed = None if self._relaxed is None else self._relaxed[1]
        return self._draw(self._uniform, self._tables, relaxed, n, rng, prefix)

    def weighted(self, weights: Sequence[ChoiceWeights], n: int, rng: np.random.Generator) -> Population:
        """Draw feasible architectures with probability proportional to the product of the weights of their choices.

        Args:
            weights: For each layer, `(candidates,)` weights, or `BranchWeights` if it is multi-branch.
            n: Number of architectures.
            rng: Random generator.

        Returns:
            `(n, layers)` architectures.

        Raises:
            InfeasibleError: No architecture of positive weight is feasible.
        """
        relaxed = None if self._relaxed is None else self._relaxed[0].backward(SumArithmetic(), weights)
        tables = self._tables if relaxed is not None else self.grid.backward(SumArithmetic(), weights)
        return self._draw(weights, tables, relaxed, n, rng, ())

    def _draw(
        self,
        weights: Sequence[ChoiceWeights],
        tables: list[Table],
        relaxed: list[Table] | None,
        n: int,
        rng: np.random.Generator,
        prefix: Sequence[int],
    ) -> Population:
        if relaxed is None or self._relaxed is None:
            return self.grid.draw(weights, tables, n, rng, prefix)
        parts: list[Population] = []
        accepted, tried = 0, 0
        while accepted < n and tried < _TRIAL_DRAWS + _MAX_DRAWS_EACH * n:
            # The share of accepted draws so far tells how many further draws are needed.
            share = max(accepted / tried, 1 / _MAX_DRAWS_EACH) if tried else 0.5
            size = min(max(_MIN_BATCH, int(1.2 * (n - accepted) / share)), _MAX_BATCH)
            drawn = self._relaxed[0].draw(weights, relaxed, size, rng, prefix)
            tried += len(drawn)
            parts.append(drawn[self.contains(drawn)][: n - accepted])
            accepted += len(parts[-1])
        if accepted < n:
            # Hardly any architecture of the relaxed grid is feasible, but all of the other grid are.
            parts.append(
                self.grid.draw(
                    weights, self.grid.backward(SumArithmetic(), weights), n - accepted, rng, prefix
                )
            )
        return np.concatenate(parts)

    def sample_distinct(self, n: int, rng: np.random.Generator) -> Population:
        """Draw distinct feasible architectures, uniformly over all sets of that size.

        Args:
            n: Number of architectures.
            rng: Random generator.

        Returns:
            `(n, layers)` architectures, or all feasible ones if there are fewer.
        """
        if 10 ** min(self.log10_count(), 300) <= 4 * n:
            population = self.enumerate()
            rows = rng.permutation(len(population))[:n]
            return population[np.sort(rows)]
        distinct: dict[tuple[int, ...], None] = {}
        while len(distinct) < n:
            # At most about a quarter of the set is drawn, so that every round adds architectures.
            for architecture in self.sample(n - len(distinct), rng):
                distinct.setdefault(tuple(int(choice) for choice in architecture))
        return np.array(list(distinct), dtype=self.space.dtype)

    def enumerate(self, limit: int = 1_000_000) -> Population:
        """Return all feasible architectures in lexicographic order.

        Args:
            limit: Maximum number of architectures.

        Raises:
            ConstraintError: There are more than `limit` feasible architectures, or too many candidates to check.
        """
        grid, tables = self._relaxed or (self.grid, self._tables)
        candidates = self._total(grid, tables)
        if self.log10_count() > math.log10(limit) + 1e-9 or candidates > max(limit, _MAX_STATES):
            raise ConstraintError(
                f"more than {limit} architectures are feasible (10^{self.log10_count():.1f})"
            )
        population = self._rows(grid, tables, ())
        return population if self._relaxed is None else population[self.contains(population)]

    def _rows(self, grid: DynamicProgramme, tables: list[Table], prefix: Sequence[int]) -> Population:
        """Return all architectures of a grid that begin with a prefix, in lexicographic order."""
        rows: list[tuple[int, ...]] = [tuple(prefix)]
        for layer in self.space.layers[len(prefix) :]:
            rows = [
                (*row, choice)
                for row, choice in itertools.product(rows, layer.choices())
                if _completes(grid, tables, (*row, choice))
            ]
        return np.array(rows, dtype=self.space.dtype).reshape(len(rows), len(self.space.layers))

    def has_completion(self, prefix: Sequence[int]) -> bool:
        """Return whether a feasible architecture begins with a prefix, mostly from existing tables."""
        if _completes(self.grid, self._tables, prefix) or self._relaxed is None:
            return _completes(self.grid, self._tables, prefix)
        # What is on the relaxed grid only has to be checked against the real constraints.
        return _completes(*self._relaxed, prefix) and self.count(prefix) > 0

    def mutate(self, parent: Population, probability: float, n: int, rng: np.random.Generator) -> Population:
        """Draw feasible mutations of an architecture.

        Mutation redraws each choice with some probability, uniformly over the choices of its layer. Children follow
        this distribution under the condition that they are feasible.

        Args:
            parent: `(layers,)` choices, which need not be feasible.
            probability: Probability of redrawing a choice.
            n: Number of children.
            rng: Random generator.

        Returns:
            `(n, layers)` children.

        Raises:
            InfeasibleError: No child is feasible.
        """
        weights: list[ChoiceWeights] = []
        for layer, choice in zip(self.space.layers, parent, strict=True):
            if layer.join == "single":
                probabilities = np.full(layer.size, probability / layer.size)
                probabilities[int(choice)] += 1 - probability
                weights.append(probabilities)
            else:
                uniform = np.ones(len(layer.candidates))
                free = probability / layer.size
                weights.append(BranchWeights(uniform, uniform, free, ((int(choice), 1 - probability),)))
        return self.weighted(weights, n, rng)

    def crossover(
        self, first: Population, second: Population, n: int, rng: np.random.Generator
    ) -> Population:
        """Draw feasible crossovers of two architectures.

        Crossover takes each choice from either parent with equal probability. Children follow this distribution under
        the condition that they are feasible.

        Args:
            first, second: `(layers,)` choices of the parents, which need not be feasible.
            n: Number of children.
            rng: Random generator.

        Returns:
            `(n, layers)` children.

        Raises:
            InfeasibleError: No child is feasible.
        """
        weights: list[ChoiceWeights] = []
        for layer, a, b in zip(self.space.layers, first, second, strict=True):
            if layer.join == "single":
                probabilities = np.zeros(layer.size)
                probabilities[int(a)] += 0.5
                probabilities[int(b)] += 0.5
                weights.append(probabilities)
            else:
                uniform = np.ones(len(layer.candidates))
                weights.append(BranchWeights(uniform, uniform, 0.0, ((int(a), 0.5), (int(b), 0.5))))
        return self.weighted(weights, n, rng)


def _completes(grid: DynamicProgramme, tables: list[Table], prefix: Sequence[int]) -> bool:
    left = grid.after(prefix)
    return left is not None and bool(grid.entry(tables, prefix, left) > 0)


def _axes(space: Space, binding: Sequence[BoundedCost], resolution: float) -> list[BudgetAxis]:
    states_of_one, states_of_several = _STATES[space.multi_branch]
    total = min(_MAX_STATES, int((states_of_one if len(binding) < 2 else states_of_several) * resolution))
    if any(b.cost.pairwise is not None for b in binding):
        widest = max(len(layer.candidates) for layer in space.layers)
        total = max(1024, total // widest * 4)
    # Small axes without rounding leave the rest of their share to the others.
    order = sorted(binding, key=lambda b: exact_size(b) or math.inf)
    axes: dict[int, BudgetAxis] = {}
    for position, budget in enumerate(order):
        share = max(4, int(total ** (1 / (len(order) - position))))
        axis = make_axis(budget, share)
        total = max(4, total // axis.size)
        axes[id(budget)] = axis
    return [axes[id(budget)] for budget in binding]


def _uniform_weights(layer: Layer) -> ChoiceWeights:
    uniform = np.ones(len(layer.candidates))
    return uniform if layer.join == "single" else BranchWeights(uniform, uniform)


def _require_reachable(space: Space, budget: BoundedCost) -> None:
    """Raise an InfeasibleError if no architecture satisfies the budget on its own."""
    constraint, cost = budget.constraint, budget.cost
    if constraint.high < cost.minimum * (1 - ROUNDING):
        cheapest = find_feasible(space, (), minimise=cost)
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the cheapest has {cost.name} "
            f"{cost.format_bound(cost.minimum, 1)} (architecture {cheapest}).",
            f"Allow at least {cost.format_bound(cost.minimum, 1)}, or choose a smaller space.",
        )
    if constraint.low > cost.maximum * (1 + ROUNDING):
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the most expensive has {cost.name} "
            f"{cost.format_bound(cost.maximum, -1)}.",
            f"Ask for at most {cost.format_bound(cost.maximum, -1)}, or choose a larger space.",
        )
