"""The exact set of architectures within a budget: counted, sampled and optimised over without rejection.

Costs are put on a grid, rounded up, so whatever comes back satisfies the real constraint. A dynamic
programme from the last layer to the first then knows, for every layer and every budget that may be left,
the total weight of feasible completions; walking forward by it draws exactly from the feasible set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.costmodel.chain import ChainCost, require_single_path
from nascli.costmodel.constraints import Constraint
from nascli.errors import ConstraintError, InfeasibleError
from nascli.spaces.space import Codes, Space

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.int64]
# States of the programme per layer, shared among the constraints.
_STATES = {1: 1 << 16, 2: 1 << 18, 3: 1 << 18}


@dataclass(frozen=True)
class Budget:
    """One bounded cost."""

    constraint: Constraint
    cost: ChainCost


class FeasibleSet:
    """All architectures of a single-path space that satisfy every constraint."""

    def __init__(self, space: Space, budgets: Sequence[Budget]) -> None:
        """Prepare the grid.

        Raises:
            InfeasibleError: a budget below the cheapest architecture, which it names.
            ConstraintError: a lower bound, or more than three constraints.
        """
        require_single_path(space, "a feasible set")
        self.space = space
        self.budgets = tuple(budgets)
        bounded = [b for b in budgets if b.constraint.high < b.cost.most]
        for budget in budgets:
            _check_reachable(space, budget)
        if len(bounded) not in (0, 1, 2, 3):
            raise ConstraintError(f"at most three costs can be bounded at once, got {len(bounded)}")
        axes = max(1, len(bounded))
        size = round(_STATES[axes] ** (1 / axes))
        # Without a bound that binds, a single state keeps the programme's shape.
        self._shape = (size,) * len(bounded) or (1,)
        steps = [_grid(budget, size - 1) for budget in bounded]
        self._steps = tuple(
            np.stack([grid[layer] for grid, _ in steps], axis=1)
            if steps
            else np.zeros((len(space.layers[layer].candidates), 1), dtype=np.int64)
            for layer in range(len(space.layers))
        )
        self._slack = {
            budget.cost.name: unit * len(space.layers)
            for budget, (_, unit) in zip(bounded, steps, strict=True)
        }
        self._ones = [np.ones(len(layer.candidates)) for layer in space.layers]
        self._counting = self._backward(self._ones)
        if not self._total(self._counting) > 0:
            names = " and ".join(str(b.constraint) for b in self.budgets)
            raise InfeasibleError(f"no architecture of {space.name} satisfies {names} together.")

    @property
    def slack(self) -> dict[str, float]:
        """By how much at most, in the cost's unit, the grid tightens each bound."""
        return dict(self._slack)

    def count(self) -> float:
        """Number of feasible architectures on the grid, in floating point."""
        return self._total(self._counting)

    def contains(self, codes: Codes) -> npt.NDArray[np.bool_]:
        """Which of `(n, layers)` architectures satisfy the real constraints."""
        inside = np.ones(len(codes), dtype=bool)
        for budget in self.budgets:
            cost = budget.cost(codes)
            inside &= (cost <= budget.constraint.high) & (cost >= budget.constraint.low)
        return inside

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` architectures, uniform over the feasible set."""
        return self._forward(self._ones, self._counting, n, rng)

    def weighted(self, weights: Sequence[Array], n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` architectures with probability proportional to the product of their weights.

        Args:
            weights: per layer, `(candidates,)` non-negative.
            n: how many.
            rng: the source of randomness.

        Raises:
            InfeasibleError: no architecture of positive weight is feasible.
        """
        table = self._backward(weights)
        if not self._total(table) > 0:
            raise InfeasibleError("no feasible architecture has a positive weight.")
        return self._forward(weights, table, n, rng)

    def mutate(self, parent: Codes, probability: float, n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` children of one feasible parent.

        The plain operator redraws each gene with `probability`, uniformly over the layer's candidates;
        this is its distribution conditioned on the child being feasible.
        """
        weights = []
        for layer, code in zip(self.space.layers, parent, strict=True):
            share = np.full(len(layer.candidates), probability / len(layer.candidates))
            share[int(code)] += 1 - probability
            weights.append(share)
        return self.weighted(weights, n, rng)

    def cross(self, first: Codes, second: Codes, n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` children that take each gene from either feasible parent, given they are feasible."""
        weights = []
        for layer, a, b in zip(self.space.layers, first, second, strict=True):
            share = np.zeros(len(layer.candidates))
            share[int(a)] += 0.5
            share[int(b)] += 0.5
            weights.append(share)
        return self.weighted(weights, n, rng)

    def best(self, scores: Sequence[Array]) -> Codes:
        """The `(layers,)` architecture with the highest additive score; exact on the grid."""
        tables = [np.zeros(self._shape)]
        for steps, score in zip(reversed(self._steps), reversed(list(scores)), strict=True):
            after = tables[-1]
            here = np.full(self._shape, -np.inf)
            for step, value in zip(steps, score, strict=True):
                target, source = _shift(step, self._shape)
                if target is not None:
                    np.maximum(here[target], after[source] + value, out=here[target])
            tables.append(here)
        tables.reverse()
        left = np.array(self._shape, dtype=np.int64) - 1
        chosen = []
        for layer, (steps, score) in enumerate(zip(self._steps, scores, strict=True)):
            after = tables[layer + 1]
            options = [
                after[tuple(left - step)] + value if np.all(left >= step) else -np.inf
                for step, value in zip(steps, score, strict=True)
            ]
            chosen.append(int(np.argmax(options)))
            left = left - steps[chosen[-1]]
        return np.array(chosen, dtype=self.space.dtype)

    def _total(self, tables: list[Array]) -> float:
        return float(tables[0][tuple(size - 1 for size in self._shape)])

    def _backward(self, weights: Sequence[Array]) -> list[Array]:
        tables = [np.ones(self._shape)]
        for steps, shares in zip(reversed(self._steps), reversed(list(weights)), strict=True):
            after = tables[-1]
            here = np.zeros(self._shape)
            for step, share in zip(steps, shares, strict=True):
                if share == 0:
                    continue
                target, source = _shift(step, self._shape)
                if target is not None:
                    here[target] += after[source] if share == 1 else share * after[source]
            tables.append(here)
        tables.reverse()
        return tables

    def _forward(
        self, weights: Sequence[Array], tables: list[Array], n: int, rng: np.random.Generator
    ) -> Codes:
        left = np.tile(np.array(self._shape, dtype=np.int64) - 1, (n, 1))
        codes = np.empty((n, len(self._steps)), dtype=self.space.dtype)
        for layer, (steps, shares) in enumerate(zip(self._steps, weights, strict=True)):
            remaining = left[:, None, :] - steps[None, :, :]
            allowed = np.all(remaining >= 0, axis=2)
            index = tuple(np.maximum(remaining[:, :, axis], 0) for axis in range(len(self._shape)))
            after = tables[layer + 1]
            mass = np.where(allowed, after[index], 0.0) * shares
            cumulative = np.cumsum(mass, axis=1)
            draws = rng.random(n) * cumulative[:, -1]
            choice = np.minimum((cumulative <= draws[:, None]).sum(axis=1), len(steps) - 1)
            codes[:, layer] = choice
            left -= steps[choice]
        return codes


def _shift(
    step: Grid, shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]] | tuple[None, None]:
    if any(s >= size for s, size in zip(step, shape, strict=True)):
        return None, None
    target = tuple(slice(int(s), None) for s in step)
    source = tuple(slice(0, size - int(s)) for s, size in zip(step, shape, strict=True))
    return target, source


def _grid(budget: Budget, cells: int) -> tuple[list[Grid], float]:
    """Steps of each candidate above its layer's cheapest, rounded up, and the size of a cell."""
    room = budget.constraint.high - budget.cost.least
    extra = [values - values.min() for values in budget.cost.unary]
    unit = _exact_unit(extra, room, cells) or max(room / cells, np.finfo(float).tiny)
    # A cell more than the whole grid stands for 'never'.
    never = cells + 1
    # The tolerance forgives the rounding error of the division, far below a cell.
    steps = [np.minimum(np.ceil(values / unit - 1e-9), never).astype(np.int64) for values in extra]
    left = min(cells, math.floor(room / unit + 1e-9))
    if left < cells:
        # With exact units the budget may end before the grid does: the first layer pays the rest.
        steps[0] = np.minimum(steps[0] + (cells - left), never)
    return steps, 0.0 if _exact_unit(extra, room, cells) else unit


def _exact_unit(extra: list[Array], room: float, cells: int) -> float | None:
    """The common divisor of integer costs, if the grid is fine enough to count in it exactly."""
    values = np.concatenate(extra)
    if not np.all(values == np.round(values)) or np.any(values > 2**53):
        return None
    divisor = math.gcd(*(int(value) for value in values)) or 1
    return float(divisor) if room / divisor <= cells else None


def _check_reachable(space: Space, budget: Budget) -> None:
    constraint, cost = budget.constraint, budget.cost
    if constraint.low != -math.inf:
        raise ConstraintError(f"{constraint}: only upper bounds can be searched under so far")
    if constraint.high < cost.least:
        cheapest = [int(values.argmin()) for values in cost.unary]
        raise InfeasibleError(
            f"no architecture of {space.name} satisfies {constraint}: the cheapest has {cost.name} "
            f"{cost.format(cost.least)} (codes {cheapest}).",
            f"Allow at least {cost.format(cost.least)}, or choose a smaller space.",
        )
