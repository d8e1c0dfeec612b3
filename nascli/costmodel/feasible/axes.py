"""Putting costs on a grid: integer steps per choice, rounded so that the real constraint always holds."""

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
# Forgives the rounding of a division, far below a cell.
_EPSILON = 1e-9
# Sums of a few dozen floats in another order differ by less than this, relatively.
ROUNDING = 1e-12


@dataclass(frozen=True)
class BoundedCost:
    """One bounded cost."""

    constraint: Constraint
    cost: ChainCost

    @property
    def high(self) -> float:
        """The upper bound; the cost of the most expensive architecture where there is none."""
        return min(self.constraint.high, self.cost.maximum)

    @property
    def binds(self) -> bool:
        """Whether any architecture can break it."""
        return self.constraint.high < self.cost.maximum or self.constraint.low > self.cost.minimum

    def holds(self, costs: Array) -> npt.NDArray[np.bool_]:
        """Which real costs are inside the window, but for the rounding of the sum itself."""
        room = ROUNDING * np.abs(costs)
        return (costs <= self.constraint.high + room) & (costs >= self.constraint.low - room)


@dataclass(frozen=True)
class BudgetAxis:
    """One budget on its grid.

    Attributes:
        budget: the real thing.
        size: number of states, which count the cells that are left to spend.
        leftover: states above this at the end would break the lower bound.
        unit: what a cell stands for.
        exact: whether the grid loses nothing.
        choices: per layer, the steps of its candidates; with boundary terms `(before, after)`.
        joins: per multi-branch layer, the steps of joining k branches; -1 where k is not allowed.
        slack: by how much at most a bound is tightened.
    """

    budget: BoundedCost
    size: int
    leftover: int
    unit: float
    exact: bool
    choices: tuple[Steps, ...]
    joins: tuple[Steps, ...] | None
    slack: float


def _transitions(cost: ChainCost) -> list[Array]:
    """Per layer the cost of each choice, with boundary terms of each pair `(before, after)`."""
    if cost.pairwise is None:
        return list(cost.unary)
    after = [u[None, :] + b for u, b in zip(cost.unary[1:], cost.pairwise, strict=True)]
    return [cost.unary[0], *after]


def _divisor(values: Array) -> float | None:
    """The greatest common divisor of integer costs; None if they are not integers."""
    if not np.all(values == np.round(values)) or np.any(np.abs(values) > 2**53):
        return None
    return float(math.gcd(*(int(value) for value in values)) or 1)


def exact_size(budget: BoundedCost) -> int | None:
    """How many states a lossless grid of this budget has; None where there is none."""
    extras, joins, base = _reduced(budget.cost)
    finite = [values[np.isfinite(values)] for values in joins or []]
    divisor = _divisor(np.concatenate([*(values.ravel() for values in extras), *finite]))
    if divisor is None:
        return None
    return math.floor(max(0.0, budget.high - base) / divisor + _EPSILON) + 1


def _reduced(cost: ChainCost) -> tuple[list[Array], list[Array] | None, float]:
    """Costs above the cheapest of each layer, which every architecture pays anyway."""
    transitions = _transitions(cost)
    if cost.joins is not None:
        return transitions, list(cost.joins), cost.offset
    extras = [values - values.min() for values in transitions]
    return extras, None, cost.offset + sum(float(values.min()) for values in transitions)


def make_axis(budget: BoundedCost, states: int, *, relaxed: bool = False) -> BudgetAxis:
    """Put a budget on a grid of at most about `states` states, exactly if they suffice.

    Args:
        budget: the real thing.
        states: how many cells at most.
        relaxed: round so that every architecture within the budget stays, and some beyond it; otherwise so that none
            beyond it stays, and some within are lost.
    """
    cost, constraint = budget.cost, budget.constraint
    extras, joins, base = _reduced(cost)
    room = max(0.0, budget.high - base)
    lossless = exact_size(budget)
    exact = lossless is not None and lossless <= states
    if exact:
        finite = [values[np.isfinite(values)] for values in joins or []]
        unit = _divisor(np.concatenate([*(v.ravel() for v in extras), *finite])) or 1.0
    else:
        unit = max(room / (states - 1), np.finfo(float).tiny)
    # Half of the forgiveness of `holds` goes to the bound, so that a budget of exactly one network has it.
    left = math.floor((room + ROUNDING / 2 * abs(budget.high)) / unit + _EPSILON) if room else 0
    left = left if exact else min(left, states - 1)
    if constraint.high >= cost.maximum:
        # Nothing is too expensive: rounding up must not push the most expensive architecture over the edge.
        left = max(left, _most_expensive(extras, joins, unit))
    never = left + 1
    to_cells = _floor if relaxed else _ceil
    choices = tuple(np.minimum(to_cells(v / unit), never).astype(np.int64) for v in extras)
    join_steps = None
    if joins is not None:
        join_steps = tuple(
            np.where(
                np.isfinite(v),
                np.minimum(to_cells(np.where(np.isfinite(v), v, 0) / unit), never),
                -1,
            ).astype(np.int64)
            for v in joins
        )
    lost = 0.0 if exact else _rounding(extras, joins, unit, to_cells)
    leftover = left
    if constraint.low > -math.inf:
        # Rounded up, cells may be `lost` more than the real cost; rounded down, so many fewer.
        min_cells = (constraint.low - base) / unit + (-lost if relaxed else lost)
        leftover = min(left, left - math.ceil(min_cells - _EPSILON))
    return BudgetAxis(budget, left + 1, leftover, unit, exact, choices, join_steps, lost * unit)


def _most_expensive(extras: Sequence[Array], joins: Sequence[Array] | None, unit: float) -> int:
    """Cells of the most expensive architecture after rounding up."""
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
    up: Array = np.ceil(cells - _EPSILON)
    return up


def _floor(cells: Array) -> Array:
    down: Array = np.floor(cells + _EPSILON)
    return down


def _rounding(
    extras: Sequence[Array], joins: Sequence[Array] | None, unit: float, to_cells: Callable[[Array], Array]
) -> float:
    """The most cells by which rounding can change an architecture."""
    total = 0.0
    for layer, values in enumerate(extras):
        errors = np.abs(to_cells(values / unit) - values / unit)
        if joins is None:
            total += float(errors.max())
            continue
        join = joins[layer][np.isfinite(joins[layer])]
        most = len(joins[layer]) - 1
        total += float(np.sort(errors)[::-1][:most].sum())
        total += float(np.abs(to_cells(join / unit) - join / unit).max())
    return total
