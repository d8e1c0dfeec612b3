"""Costs on a grid: integer steps for every choice, rounded such that the real constraint always holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.constraints import Constraint

Array = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
# Tolerance for the rounding of a division, far below one cell.
_EPSILON = 1e-9
# Sums of a few dozen floats in different orders differ relatively by less than this.
ROUNDING = 1e-12


@dataclass(frozen=True)
class BoundedCost:
    """A cost and the constraint that bounds it.

    Attributes:
        constraint: The constraint.
        cost: The cost.
    """

    constraint: Constraint
    cost: ChainCost

    @property
    def high(self) -> float:
        """Upper bound, but at most the cost of the most expensive architecture."""
        return min(self.constraint.high, self.cost.maximum)

    @property
    def binds(self) -> bool:
        """Whether some architecture breaks the constraint."""
        return self.constraint.high < self.cost.maximum or self.constraint.low > self.cost.minimum

    def holds(self, costs: Array) -> npt.NDArray[np.bool_]:
        """Return which of `(n,)` costs satisfy the constraint, up to the rounding of a sum."""
        tolerance = ROUNDING * np.abs(costs)
        return (costs <= self.constraint.high + tolerance) & (costs >= self.constraint.low - tolerance)


@dataclass(frozen=True)
class BudgetAxis:
    """A bounded cost on a grid of cells.

    Attributes:
        budget: The bounded cost.
        size: Number of states. A state is the number of cells that are left to spend.
        max_leftover: Maximum number of cells that may be left at the end; more would break the lower bound.
        unit: Cost of one cell.
        exact: Whether no rounding takes place.
        steps: For each layer, the cells of its candidates: `(candidates,)`, or `(before, candidates)` with boundary
            terms.
        join_steps: For each layer of a multi-branch space, the cells of joining 0, 1, ... branches, and -1 for a
            number of branches that is not allowed.
        slack: By how much rounding tightens a bound at most, in the unit of the cost.
    """

    budget: BoundedCost
    size: int
    max_leftover: int
    unit: float
    exact: bool
    steps: tuple[Steps, ...]
    join_steps: tuple[Steps, ...] | None
    slack: float


def _transitions(cost: ChainCost) -> list[Array]:
    """Return, for each layer, the costs of its candidates, or of pairs `(before, candidates)` with boundary terms."""
    if cost.pairwise is None:
        return list(cost.unary)
    after = [u[None, :] + b for u, b in zip(cost.unary[1:], cost.pairwise, strict=True)]
    return [cost.unary[0], *after]


def _divisor(values: Array) -> float | None:
    """Return the greatest common divisor of costs, or None if they are not integers."""
    if not np.all(values == np.round(values)) or np.any(np.abs(values) > 2**53):
        return None
    return float(math.gcd(*(int(value) for value in values)) or 1)


def exact_size(budget: BoundedCost) -> int | None:
    """Return the number of states of a grid without rounding, or None if there is no such grid."""
    extras, joins, base = _reduced(budget.cost)
    finite = [values[np.isfinite(values)] for values in joins or []]
    divisor = _divisor(np.concatenate([*(values.ravel() for values in extras), *finite]))
    if divisor is None:
        return None
    return math.floor(max(0.0, budget.high - base) / divisor + _EPSILON) + 1


def _reduced(cost: ChainCost) -> tuple[list[Array], list[Array] | None, float]:
    """Return the costs of choices above the minimum of their layer, the costs of joins, and the sum of the minima."""
    transitions = _transitions(cost)
    if cost.joins is not None:
        return transitions, list(cost.joins), cost.offset
    extras = [values - values.min() for values in transitions]
    return extras, None, cost.offset + sum(float(values.min()) for values in transitions)


def make_axis(budget: BoundedCost, states: int, *, relaxed: bool = False) -> BudgetAxis:
    """Put a bounded cost on a grid, without rounding if that needs no more than `states` states.

    Args:
        budget: The bounded cost.
        states: Approximate maximum number of states.
        relaxed: How to round. If false, every architecture on the grid satisfies the constraint, and some feasible
            ones are lost. If true, every feasible architecture is on the grid, and some infeasible ones are as well.
    """
    cost, constraint = budget.cost, budget.constraint
    extras, joins, base = _reduced(cost)
    available = max(0.0, budget.high - base)
    lossless = exact_size(budget)
    exact = lossless is not None and lossless <= states
    if exact:
        finite = [values[np.isfinite(values)] for values in joins or []]
        unit = _divisor(np.concatenate([*(v.ravel() for v in extras), *finite])) or 1.0
    else:
        unit = max(available / (states - 1), np.finfo(float).tiny)
    # Half of the tolerance of `holds` is granted here, so that a budget of exactly one architecture contains it.
    tolerant = available + ROUNDING / 2 * abs(budget.high)
    left = math.floor(tolerant / unit + _EPSILON) if available else 0
    left = left if exact else min(left, states - 1)
    if constraint.high >= cost.maximum:
        # Nothing is too expensive, so rounding up must not exclude the most expensive architecture.
        left = max(left, _most_expensive(extras, joins, unit))
    unaffordable = left + 1
    to_cells = _floor if relaxed else _ceil
    steps = tuple(np.minimum(to_cells(v / unit), unaffordable).astype(np.int64) for v in extras)
    join_steps = None
    if joins is not None:
        join_steps = tuple(
            np.where(
                np.isfinite(v),
                np.minimum(to_cells(np.where(np.isfinite(v), v, 0) / unit), unaffordable),
                -1,
            ).astype(np.int64)
            for v in joins
        )
    rounding = 0.0 if exact else _max_rounding(extras, joins, unit, to_cells)
    max_leftover = left
    if constraint.low > -math.inf:
        # Rounded up, cells exceed the real cost by up to `rounding`; rounded down, they fall below it by as much.
        min_cells = (constraint.low - base) / unit + (-rounding if relaxed else rounding)
        max_leftover = min(left, left - math.ceil(min_cells - _EPSILON))
    return BudgetAxis(budget, left + 1, max_leftover, unit, exact, steps, join_steps, rounding * unit)


def _most_expensive(extras: Sequence[Array], joins: Sequence[Array] | None, unit: float) -> int:
    """Return the cells of the most expensive architecture after rounding up."""
    total = 0.0
    for layer, values in enumerate(extras):
        steps = _ceil(values / unit)
        if joins is None:
            total += float(steps.max())
            continue
        join = joins[layer][np.isfinite(joins[layer])]
        total += float(np.sort(steps.ravel())[::-1][: len(joins[layer]) - 1].sum())
        total += float(_ceil(join / unit).max())
    return int(total)


def _ceil(cells: Array) -> Array:
    rounded: Array = np.ceil(cells - _EPSILON)
    return rounded


def _floor(cells: Array) -> Array:
    rounded: Array = np.floor(cells + _EPSILON)
    return rounded


def _max_rounding(
    extras: Sequence[Array], joins: Sequence[Array] | None, unit: float, to_cells: Callable[[Array], Array]
) -> float:
    """Return the maximum number of cells by which rounding changes the cost of an architecture."""
    total = 0.0
    for layer, values in enumerate(extras):
        errors = np.abs(to_cells(values / unit) - values / unit)
        if joins is None:
            total += float(errors.max())
            continue
        join = joins[layer][np.isfinite(joins[layer])]
        max_branches = len(joins[layer]) - 1
        total += float(np.sort(errors)[::-1][:max_branches].sum())
        total += float(np.abs(to_cells(join / unit) - join / unit).max())
    return total
