"""Diagnosis of feasible sets that seem empty: whether they are, and by how much which constraint must be relaxed.

An integer programme on the real costs decides, so that a coarse grid is never mistaken for infeasibility.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.feasible.axes import BoundedCost
from nascli.spaces.space import Space

# Solutions that may turn out to be outside the real bounds before the solver is given up.
_MAX_SOLUTIONS = 30
Array = np.ndarray[tuple[int], np.dtype[np.float64]]


class IntegerProgramme:
    """The architectures of a space as solutions of a mixed-integer linear programme.

    There is one binary variable for every candidate, for every number of branches of a multi-branch layer, and, if a
    cost has boundary terms, for every pair of candidates of neighbouring layers.

    Args:
        space: The space.
        costs: Costs that objectives and budgets are made of.
    """

    def __init__(self, space: Space, costs: Sequence[ChainCost]) -> None:
        self.space = space
        self._starts: list[int] = []
        size = 0
        for layer in space.layers:
            self._starts.append(size)
            size += len(layer.candidates)
        self._joins: list[int] = []
        if space.multi_branch:
            for layer in space.layers:
                self._joins.append(size)
                size += layer.max_branches + 1
        self._pairs: list[int] = []
        if any(cost.pairwise is not None for cost in costs):
            for a, b in zip(space.layers, space.layers[1:], strict=False):
                self._pairs.append(size)
                size += len(a.candidates) * len(b.candidates)
        self.size = size
        self.rules = self._rules()

    def coefficients(self, cost: ChainCost) -> Array:
        """Return the `(variables,)` coefficients of a cost, without its offset."""
        row = np.zeros(self.size)
        for start, values in zip(self._starts, cost.unary, strict=True):
            row[start : start + len(values)] = values
        for start, values in zip(self._joins, cost.joins or (), strict=False):
            row[start : start + len(values)] = np.where(np.isfinite(values), values, 0)
        for start, values in zip(self._pairs, cost.pairwise or (), strict=False):
            row[start : start + values.size] = values.ravel()
        return row

    def _rules(self) -> list[LinearConstraint]:
        matrix_rows: list[tuple[dict[int, float], float, float]] = []
        for number, layer in enumerate(self.space.layers):
            own = range(self._starts[number], self._starts[number] + len(layer.candidates))
            if layer.join == "single":
                matrix_rows.append((dict.fromkeys(own, 1.0), 1, 1))
                continue
            join = self._joins[number]
            counts = range(join, join + layer.max_branches + 1)
            matrix_rows.append((dict.fromkeys(counts, 1.0), 1, 1))
            total = dict.fromkeys(own, 1.0) | {at: -float(k) for k, at in enumerate(counts)}
            matrix_rows.append((total, 0, 0))
            if layer.join == "reduction":
                matrix_rows.append(({join: 1.0}, 0, 0))
        matrix_rows += self._pair_rules()
        matrix = lil_matrix((len(matrix_rows), self.size))
        for index, (row, _, _) in enumerate(matrix_rows):
            for column, value in row.items():
                matrix[index, column] = value
        low, high = [row[1] for row in matrix_rows], [row[2] for row in matrix_rows]
        return [LinearConstraint(matrix.tocsr(), low, high)]

    def _pair_rules(self) -> list[tuple[dict[int, float], float, float]]:
        rules = []
        for number, start in enumerate(self._pairs):
            a, b = (len(self.space.layers[number + i].candidates) for i in (0, 1))
            # The variables of the pairs of a candidate add up to the variable of the candidate, on both sides.
            for i in range(a):
                row = {start + i * b + j: 1.0 for j in range(b)} | {self._starts[number] + i: -1.0}
                rules.append((row, 0.0, 0.0))
            for j in range(b):
                row = {start + i * b + j: 1.0 for i in range(a)} | {self._starts[number + 1] + j: -1.0}
                rules.append((row, 0.0, 0.0))
        return rules

    def solve(self, objective: Array, budgets: Sequence[BoundedCost]) -> list[int] | None:
        """Return the architecture that minimises a linear form under budgets, or None if the solver finds none.

        The solver works within tolerances. A solution that does not satisfy the real constraints is cut off, and the
        solver is run again, up to 30 times.

        Args:
            objective: `(variables,)` coefficients of the linear form.
            budgets: Bounded costs.

        Returns:
            `(layers,)` choices.
        """
        limits = [self._limit(budget) for budget in budgets]
        size = float(np.abs(objective).max()) or 1.0
        for _ in range(_MAX_SOLUTIONS):
            answer = milp(
                objective / size,
                constraints=[*self.rules, *limits],
                integrality=np.ones(self.size, dtype=np.int64),
                bounds=Bounds(0, 1),
            )
            if answer.x is None:
                return None
            architecture = self._architecture(answer.x)
            row = np.array([architecture])
            if all(bool(budget.holds(budget.cost(row))[0]) for budget in budgets):
                return architecture
            limits.append(self._cut(answer.x))
        return None

    def _limit(self, budget: BoundedCost) -> LinearConstraint:
        row = self.coefficients(budget.cost)
        # The tolerances of the solver are absolute and larger than latencies in seconds.
        size = float(np.abs(row).max()) or 1.0
        low = (budget.constraint.low - budget.cost.offset) / size
        high = (budget.constraint.high - budget.cost.offset) / size
        return LinearConstraint(row[None] / size, low, high)

    def _architecture(self, x: Array) -> list[int]:
        choices = []
        for start, layer in zip(self._starts, self.space.layers, strict=True):
            chosen = np.flatnonzero(x[start : start + len(layer.candidates)] > 0.5)
            choices.append(int(chosen[0]) if layer.join == "single" else sum(1 << int(i) for i in chosen))
        return choices

    def _cut(self, x: Array) -> LinearConstraint:
        """Return the rule that excludes one architecture, because at least one candidate must change."""
        count = self._starts[-1] + len(self.space.layers[-1].candidates)
        row = np.zeros(self.size)
        chosen = x[:count] > 0.5
        row[:count] = np.where(chosen, -1.0, 1.0)
        return LinearConstraint(row[None], 1.0 - float(chosen.sum()), np.inf)


def find_feasible(
    space: Space, budgets: Sequence[BoundedCost], *, minimise: ChainCost | None = None
) -> list[int] | None:
    """Return an architecture within budgets, or None if there is none.

    Args:
        space: The space.
        budgets: Bounded costs.
        minimise: Cost that the architecture minimises; by default any architecture is returned.

    Returns:
        `(layers,)` choices.
    """
    costs = [b.cost for b in budgets] + ([minimise] if minimise else [])
    programme = IntegerProgramme(space, costs)
    objective = np.zeros(programme.size) if minimise is None else programme.coefficients(minimise)
    return programme.solve(objective, budgets)


def explain_infeasible(space: Space, budgets: Sequence[BoundedCost]) -> tuple[str, str]:
    """Return a message for budgets that no architecture satisfies, and a hint how far each has to be relaxed."""
    programme = IntegerProgramme(space, [b.cost for b in budgets])
    relaxations = []
    for budget in budgets:
        others = [b for b in budgets if b is not budget]
        cost = budget.cost
        for sign, bound in ((1.0, budget.constraint.high), (-1.0, budget.constraint.low)):
            if not np.isfinite(bound):
                continue
            answer = programme.solve(sign * programme.coefficients(cost), others)
            if answer is None:
                continue
            optimum = float(cost(np.array([answer]))[0])
            if sign * (optimum - bound) > 0:
                word = "at least" if sign > 0 else "at most"
                relaxations.append(f"{cost.name} {word} {cost.format_bound(optimum, int(sign))}")
    names = " and ".join(str(b.constraint) for b in budgets)
    hint = "Drop one of them."
    if relaxations:
        hint = f"With the others kept, one of these is possible: {'; '.join(relaxations)}."
    return f"no architecture of {space.name} satisfies {names} together.", hint
