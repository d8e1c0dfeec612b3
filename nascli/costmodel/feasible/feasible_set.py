"""The exact set of architectures within budgets: counted, sampled and searched.

With one budget nothing is rejected. Several share a grid whose cells are coarse: then draws come from a set that
lacks no feasible architecture, and the few that are beyond a bound are drawn anew.

A dynamic programme from the last layer to the first knows, for every layer and every budget that may be
left, the weight of all feasible completions; walking forward by it draws exactly from the feasible set.
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
from nascli.spaces.blocks import Layer as SpaceLayer
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
# States per layer: one axis, several axes; multi-branch layers keep a table per number of branches.
_STATES = {False: (1 << 16, 1 << 18), True: (1 << 14, 1 << 16)}
_MOST_STATES = 1 << 22
_FINEST = 64.0
# Draws that tell how much of a relaxed grid is feasible; draws at a time; draws made for each that is wanted.
_TRIAL, _BATCH, _PATIENCE = 4096, 256, 64
_MOST_DRAWN = 1 << 16
# Of so many the feasible ones are told apart one by one.
_FEW = 4096
# The largest primes below 2^62: two residues still add up within 64 bits.
_PRIMES = tuple(
    2**62 - k for k in (57, 87, 117, 143, 153, 167, 171, 195, 203, 273, 287, 317, 443, 483, 495, 575)
)


class FeasibleSet:
    """All architectures of a space that satisfy every budget."""

    def __init__(self, space: Space, budgets: Sequence[BoundedCost], *, resolution: float = 1.0) -> None:
        """Prepare the tables.

        Args:
            space: single-path or multi-branch.
            budgets: any number of windows on chain costs of that space.
            resolution: multiplies the number of grid cells; finer grids lose less at the bounds.

        Raises:
            InfeasibleError: no architecture satisfies them; says which bind and by how much.
            ConstraintError: a feasible set so close to its bounds that no affordable grid resolves it.
        """
        self.space = space
        self.budgets = tuple(budgets)
        for budget in self.budgets:
            _check_alone(space, budget)
        binding = [budget for budget in self.budgets if budget.binds]
        while True:
            self._prepare(binding, resolution)
            if self._total(self.grid, self._tables) > 0:
                return
            if all(axis.exact for axis in self.axes) or resolution >= _FINEST:
                break
            if self._relaxed is not None:
                if self._accepted:
                    return
                if not self._total(*self._relaxed):
                    break
            # Too coarse, perhaps: what rounding lost must not be called infeasible.
            resolution *= 4
        witness = find_feasible(space, binding)
        if witness is None:
            raise InfeasibleError(*explain_infeasible(space, binding))
        raise ConstraintError(
            f"architectures such as {witness} satisfy the constraints, but lie closer to the bounds than the "
            f"grid can tell ({self._slack_text()}).",
            "Widen a bound by that much.",
        )

    def _prepare(self, binding: Sequence[BoundedCost], resolution: float) -> None:
        self._uniform: list[ChoiceWeights] = [_uniform_law(layer) for layer in self.space.layers]
        self.grid = DynamicProgramme(self.space, _axes(self.space, binding, resolution))
        self._tables = self.grid.backward(SumArithmetic(), self._uniform)
        self.__dict__.pop("_relaxed", None)
        self.__dict__.pop("_accepted", None)

    @cached_property
    def _relaxed(self) -> tuple[DynamicProgramme, list[Table]] | None:
        """A grid that no feasible architecture is missing from, and some others are on; None where the first is one.

        Several budgets share the states, so that each has few of them: rounding then costs a part of the set. What
        is drawn from this one and satisfies the real constraints lacks nothing.
        """
        if len(self.axes) < 2 or all(axis.exact for axis in self.axes):
            return None
        axes = [make_axis(axis.budget, axis.size, relaxed=True) for axis in self.axes]
        grid = DynamicProgramme(self.space, axes)
        return grid, grid.backward(SumArithmetic(), self._uniform)

    @cached_property
    def _accepted(self) -> float:
        return self._accepted_after(())

    def _accepted_after(self, prefix: tuple[int, ...]) -> float:
        """The share of the relaxed grid that satisfies the real constraints, by a fixed sample."""
        assert self._relaxed is not None
        grid, tables = self._relaxed
        if not _completes(grid, tables, prefix):
            return 0.0
        drawn = grid.draw(self._uniform, tables, _TRIAL, np.random.default_rng(0), prefix)
        return float(self.contains(drawn).mean())

    @property
    def relaxed(self) -> DynamicProgramme | None:
        """The grid that no feasible architecture is missing from, where that is another than `grid`."""
        return None if self._relaxed is None else self._relaxed[0]

    @property
    def axes(self) -> list[BudgetAxis]:
        """The budgets that bind, on the grid on which every architecture is feasible."""
        return self.grid.axes

    @property
    def exact(self) -> bool:
        """Whether `count` is the number of feasible architectures (but for `slack`), not an estimate of it."""
        return self._relaxed is None or self._counted(self._relaxed[0], ()) <= _FEW

    def _total(self, grid: DynamicProgramme, tables: list[Table]) -> float:
        return grid.entry(tables, (), np.array(grid.start))

    @property
    def slack(self) -> dict[str, float]:
        """By how much at most, in the cost's unit, the grid tightens each bound; 0 where it is exact."""
        tightened = {budget.cost.name: 0.0 for budget in self.budgets}
        return tightened | {axis.budget.cost.name: axis.slack for axis in self.axes}

    def _slack_text(self) -> str:
        return ", ".join(f"{a.budget.cost.name} {a.budget.cost.format(a.slack)}" for a in self.axes)

    def count(self, prefix: Sequence[int] = ()) -> int:
        """Number of feasible architectures that begin with `prefix`.

        With one budget exactly, but for the cells at its bounds (`slack`). With several whose costs are no small
        integers it is estimated where there are many, and `exact` is False: by how many of 4,096 draws from a set
        that lacks none are feasible.
        """
        inside = self._counted(self.grid, prefix)
        if self._relaxed is None:
            return inside
        grid, tables = self._relaxed
        candidates = self._counted(grid, prefix)
        if candidates <= _FEW:
            return int(self.contains(self._rows(grid, tables, prefix)).sum())
        return max(inside, round(candidates * self._accepted_after(tuple(prefix))))

    def _counted(self, grid: DynamicProgramme, prefix: Sequence[int]) -> int:
        left = grid.after(prefix)
        if left is None:
            return 0
        if self.space.size < 2**63:
            tables = grid.backward(CountArithmetic(None), self._uniform)
            return int(grid.entry(tables, prefix, left))
        residues, modulus = 0, 1
        for prime in _PRIMES:
            tables = grid.backward(CountArithmetic(prime), self._uniform)
            residue = int(grid.entry(tables, prefix, left))
            # The Chinese remainder theorem, one prime at a time.
            residues += modulus * ((residue - residues) * pow(modulus, -1, prime) % prime)
            modulus *= prime
            if modulus > self.space.size:
                return residues
        raise ConstraintError(f"{self.space.name} is too large to count exactly; see log10_count")

    def log10_count(self) -> float:
        """Decimal logarithm of `count()`, in floating point, and with it an estimate or not."""
        on_grid = self._total(self.grid, self._tables)
        if self._relaxed is not None and self._accepted:
            return math.log10(max(on_grid, self._total(*self._relaxed) * self._accepted))
        return math.log10(on_grid)

    def contains(self, codes: Population) -> npt.NDArray[np.bool_]:
        """Which of `(n, layers)` architectures satisfy the real constraints."""
        inside = np.ones(len(codes), dtype=bool)
        for budget in self.budgets:
            inside &= budget.holds(budget.cost(codes))
        return inside

    def sample(self, n: int, rng: np.random.Generator, prefix: Sequence[int] = ()) -> Population:
        """`(n, layers)` architectures, uniform over those that begin with `prefix`.

        Raises:
            InfeasibleError: nothing feasible begins with the prefix.
        """
        relaxed = None if self._relaxed is None else self._relaxed[1]
        return self._draw(self._uniform, self._tables, relaxed, n, rng, prefix)

    def weighted(self, weights: Sequence[ChoiceWeights], n: int, rng: np.random.Generator) -> Population:
        """`(n, layers)` architectures with probability proportional to the product of their weights.

        Args:
            weights: per layer `(candidates,)` weights, or a `BranchWeights` for a multi-branch layer.
            n: how many.
            rng: the source of randomness.

        Raises:
            InfeasibleError: no architecture of positive weight is feasible.
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
        kept: list[Population] = []
        have, tried = 0, 0
        while have < n and tried < _TRIAL + _PATIENCE * n:
            # As many as bring what is missing, by what was kept so far.
            kept_share = max(have / tried, 1 / _PATIENCE) if tried else 0.5
            size = min(max(_BATCH, int(1.2 * (n - have) / kept_share)), _MOST_DRAWN)
            drawn = self._relaxed[0].draw(weights, relaxed, size, rng, prefix)
            tried += len(drawn)
            kept.append(drawn[self.contains(drawn)][: n - have])
            have += len(kept[-1])
        if have < n:
            # Hardly anything on the relaxed grid is feasible: what is on the other one, all is.
            kept.append(
                self.grid.draw(weights, self.grid.backward(SumArithmetic(), weights), n - have, rng, prefix)
            )
        return np.concatenate(kept)

    def sample_distinct(self, n: int, rng: np.random.Generator) -> Population:
        """Up to `n` different architectures, uniform over the sets of that size; all if there are fewer."""
        if 10 ** min(self.log10_count(), 300) <= 4 * n:
            every = self.enumerate()
            chosen = rng.permutation(len(every))[:n]
            return every[np.sort(chosen)]
        found: dict[tuple[int, ...], None] = {}
        while len(found) < n:
            # About a quarter of the set is taken at most, so every round brings new ones.
            for row in self.sample(n - len(found), rng):
                found.setdefault(tuple(int(code) for code in row))
        return np.array(list(found), dtype=self.space.dtype)

    def enumerate(self, limit: int = 1_000_000) -> Population:
        """Every feasible architecture, in lexical order.

        Raises:
            ConstraintError: more than `limit`, or more to go through than can be.
        """
        grid, tables = self._relaxed or (self.grid, self._tables)
        candidates = self._total(grid, tables)
        if self.log10_count() > math.log10(limit) + 1e-9 or candidates > max(limit, _MOST_STATES):
            raise ConstraintError(
                f"more than {limit} architectures are feasible (10^{self.log10_count():.1f})"
            )
        every = self._rows(grid, tables, ())
        return every if self._relaxed is None else every[self.contains(every)]

    def _rows(self, grid: DynamicProgramme, tables: list[Table], prefix: Sequence[int]) -> Population:
        """All that is on a grid and begins with a prefix, in lexical order."""
        rows: list[tuple[int, ...]] = [tuple(prefix)]
        for layer in self.space.layers[len(prefix) :]:
            codes = _codes_of(layer)
            rows = [
                (*row, code)
                for row, code in itertools.product(rows, codes)
                if _completes(grid, tables, (*row, code))
            ]
        return np.array(rows, dtype=self.space.dtype).reshape(len(rows), len(self.space.layers))

    def has_completion(self, prefix: Sequence[int]) -> bool:
        """Whether anything feasible begins with `prefix`; by the tables that are there already."""
        if _completes(self.grid, self._tables, prefix) or self._relaxed is None:
            return _completes(self.grid, self._tables, prefix)
        # On the relaxed grid only: what is there must be looked at.
        return _completes(*self._relaxed, prefix) and self.count(prefix) > 0

    def mutate(self, parent: Population, probability: float, n: int, rng: np.random.Generator) -> Population:
        """`(n, layers)` children of one parent.

        The plain operator redraws each gene with `probability`, uniformly over the layer's choices; this
        is its distribution conditioned on the child being feasible.
        """
        weights: list[ChoiceWeights] = []
        for layer, code in zip(self.space.layers, parent, strict=True):
            if layer.join == "single":
                share = np.full(layer.size, probability / layer.size)
                share[int(code)] += 1 - probability
                weights.append(share)
            else:
                ones = np.ones(len(layer.candidates))
                free = probability / layer.size
                weights.append(BranchWeights(ones, ones, free, ((int(code), 1 - probability),)))
        return self.weighted(weights, n, rng)

    def crossover(
        self, first: Population, second: Population, n: int, rng: np.random.Generator
    ) -> Population:
        """`(n, layers)` children that take each gene from either parent, given that they are feasible."""
        weights: list[ChoiceWeights] = []
        for layer, a, b in zip(self.space.layers, first, second, strict=True):
            if layer.join == "single":
                share = np.zeros(layer.size)
                share[int(a)] += 0.5
                share[int(b)] += 0.5
                weights.append(share)
            else:
                ones = np.ones(len(layer.candidates))
                weights.append(BranchWeights(ones, ones, 0.0, ((int(a), 0.5), (int(b), 0.5))))
        return self.weighted(weights, n, rng)


def _completes(grid: DynamicProgramme, tables: list[Table], prefix: Sequence[int]) -> bool:
    left = grid.after(prefix)
    return left is not None and bool(grid.entry(tables, prefix, left) > 0)


def _axes(space: Space, binding: Sequence[BoundedCost], resolution: float) -> list[BudgetAxis]:
    one, several = _STATES[space.multi_branch]
    total = min(_MOST_STATES, int((one if len(binding) < 2 else several) * resolution))
    if any(b.cost.pairwise is not None for b in binding):
        widest = max(len(layer.candidates) for layer in space.layers)
        total = max(1024, total // widest * 4)
    # Lossless axes that are small leave their share to the others.
    order = sorted(binding, key=lambda b: exact_size(b) or math.inf)
    axes: dict[int, BudgetAxis] = {}
    for position, budget in enumerate(order):
        share = max(4, int(total ** (1 / (len(order) - position))))
        axis = make_axis(budget, share)
        total = max(4, total // axis.size)
        axes[id(budget)] = axis
    return [axes[id(budget)] for budget in binding]


def _uniform_law(layer: SpaceLayer) -> ChoiceWeights:
    ones = np.ones(len(layer.candidates))
    return ones if layer.join == "single" else BranchWeights(ones, ones)


def _codes_of(layer: SpaceLayer) -> list[int]:
    if layer.join == "single":
        return list(range(len(layer.candidates)))
    least = layer.min_branches
    candidates = range(len(layer.candidates))
    sets = itertools.chain.from_iterable(
        itertools.combinations(candidates, k) for k in range(least, layer.max_branches + 1)
    )
    return sorted(sum(1 << i for i in chosen) for chosen in sets)


def _check_alone(space: Space, budget: BoundedCost) -> None:
    constraint, cost = budget.constraint, budget.cost
    if constraint.high < cost.minimum * (1 - ROUNDING):
        cheapest = find_feasible(space, (), minimise=cost)
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the cheapest has {cost.name} "
            f"{cost.format_bound(cost.minimum, 1)} (codes {cheapest}).",
            f"Allow at least {cost.format_bound(cost.minimum, 1)}, or choose a smaller space.",
        )
    if constraint.low > cost.maximum * (1 + ROUNDING):
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the most expensive has {cost.name} "
            f"{cost.format_bound(cost.maximum, -1)}.",
            f"Ask for at most {cost.format_bound(cost.maximum, -1)}, or choose a larger space.",
        )
