"""The exactly best architectures of a feasible set by an additive score."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.costmodel.feasible.feasible_set import FeasibleSet
from nascli.costmodel.feasible.layers import (
    BranchWeights,
    MaxArithmetic,
    MultiBranchLayer,
    PairedLayer,
    SinglePathLayer,
    Table,
)
from nascli.costmodel.feasible.programme import ChoiceWeights, DynamicProgramme
from nascli.errors import ConstraintError
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
# Bounds that differ by less than this share of the sum of the largest scores are considered equal.
_TIE = 1e-11
# Maximum number of architectures of a relaxed grid that are checked against the real constraints.
_MAX_CHECKED = 20_000


def best(feasible: FeasibleSet, scores: Sequence[Array]) -> Population:
    """Return the feasible architecture `(layers,)` with the highest additive score; see `k_best`."""
    architecture: Population = k_best(feasible, scores, 1)[0]
    return architecture


def k_best(feasible: FeasibleSet, scores: Sequence[Array], k: int) -> Population:
    """Return the feasible architectures with the highest additive scores.

    A best-first search uses the tables of the dynamic programme as its bound. The bound is exact, so that only prefixes
    of results and of architectures that tie with them are expanded.

    Args:
        feasible: The feasible set.
        scores: For each layer, `(candidates,)` scores. The scores of the branches of a multi-branch layer add up.
        k: Number of architectures.

    Returns:
        `(k, layers)` architectures, best first, or all feasible ones if there are fewer.
    """
    space = feasible.space
    best_rows: dict[tuple[int, ...], None] = {}
    if feasible.relaxed is not None:
        for number, choices in enumerate(_best_first(feasible.relaxed, scores)):
            if feasible.contains(np.array([choices], dtype=space.dtype))[0]:
                best_rows[choices] = None
            if len(best_rows) == k or number == _MAX_CHECKED:
                break
        else:
            return _to_population(best_rows, space)
    # With one budget, or if too many architectures with higher scores are infeasible, all of `grid` are feasible.
    if len(best_rows) < k:
        best_rows |= dict.fromkeys(itertools.islice(_best_first(feasible.grid, scores), k))
    population = _to_population(best_rows, space)
    return population[np.argsort(-additive(feasible, scores, population), kind="stable")][:k]


def _best_first(grid: DynamicProgramme, scores: Sequence[Array]) -> Iterator[tuple[int, ...]]:
    return iter(_Search(grid, scores, _tables(grid, scores), grid.start))


def _to_population(architectures: Iterable[tuple[int, ...]], space: Space) -> Population:
    rows = list(architectures)
    return np.array(rows, dtype=space.dtype).reshape(len(rows), len(space.layers))


def pareto(feasible: FeasibleSet, scores: Sequence[Array]) -> Population:
    """Return the Pareto front of an additive score and the one bounded cost.

    Args:
        feasible: A feasible set with one binding budget.
        scores: For each layer, `(candidates,)` scores.

    Returns:
        `(n, layers)` architectures, cheapest first. No feasible architecture has both a higher score and a lower cost
        than one of them, up to the rounding of the grid.

    Raises:
        ConstraintError: Not exactly one budget binds.
    """
    if len(feasible.axes) != 1:
        raise ConstraintError(f"a front needs one binding budget, got {len(feasible.axes)}")
    grid = feasible.grid
    tables = _tables(grid, scores, spent_whole=True)
    first = tables[0][0] if isinstance(grid.layers[0], PairedLayer) else tables[0]
    (axis,) = feasible.axes
    rows: list[tuple[int, ...]] = []
    best_so_far = -np.inf
    # The best architecture for every number of spent cells, from the lower bound up.
    for spent in range(max(0, axis.size - 1 - axis.max_leftover), axis.size):
        value = float(first[spent])
        if value > best_so_far + 1e-12 * max(1.0, abs(value)):
            best_so_far = value
            rows.append(next(iter(_Search(grid, scores, tables, (spent,)))))
    population = _to_population(rows, feasible.space)
    # Rounding may put neighbours in the wrong order, which the real costs correct.
    costs = feasible.axes[0].budget.cost(population)
    values = additive(feasible, scores, population)
    front, highest = [], -np.inf
    for index in np.lexsort((-values, costs)):
        if values[index] > highest:
            front.append(index)
            highest = values[index]
    return population[front]


def additive(feasible: FeasibleSet, scores: Sequence[Array], population: Population) -> Array:
    """Return the `(n,)` additive scores of `(n, layers)` architectures.

    Args:
        feasible: A feasible set of the space.
        scores: For each layer, `(candidates,)` scores.
        population: `(n, layers)` architectures.
    """
    total = np.zeros(len(population))
    for number, (layer, values) in enumerate(zip(feasible.space.layers, scores, strict=True)):
        column = population[:, number].astype(np.int64)
        if layer.join == "single":
            total += values[column]
        else:
            total += ((column[:, None] >> np.arange(len(values))) & 1) @ values
    return total


def _tables(grid: DynamicProgramme, scores: Sequence[Array], *, spent_whole: bool = False) -> list[Table]:
    weights: list[ChoiceWeights] = [
        np.asarray(values, dtype=float)
        if layer.join == "single"
        else BranchWeights(np.asarray(values, dtype=float), np.zeros(len(values)))
        for layer, values in zip(grid.space.layers, scores, strict=True)
    ]
    return grid.backward(MaxArithmetic(), weights, spent_whole=spent_whole)


class _Search:
    """Best-first search over prefixes, and over the branches within a multi-branch layer."""

    def __init__(
        self, grid: DynamicProgramme, scores: Sequence[Array], tables: list[Table], start: tuple[int, ...]
    ) -> None:
        self.grid = grid
        self.scores = [np.asarray(values, dtype=float) for values in scores]
        self.tables = tables
        self.start = np.array(start, dtype=np.int64)
        self.ticket = itertools.count()
        self.heap: list[tuple[float, int, int, Any]] = []
        # The rounding of a sum of scores is relative to its largest addends, not to the sum.
        self.grain = _TIE * (sum(float(np.abs(values).max()) for values in self.scores) or 1.0)
        self._stages: dict[int, list[Table]] = {}

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """Yield all architectures of the grid, best first."""
        layers = len(self.grid.layers)
        first = self.tables[0][0] if isinstance(self.grid.layers[0], PairedLayer) else self.tables[0]
        bound = float(first[tuple(self.start)])
        self._push(bound, ((), 0.0, self.start, None))
        while self.heap:
            *_, (choices, score, left, inside) = heapq.heappop(self.heap)
            if len(choices) == layers:
                yield choices
            elif inside is not None:
                self._branch(choices, score, left, inside)
            else:
                self._expand(choices, score, left)

    def _push(self, bound: float, node: Any) -> None:
        if bound > -np.inf:
            choices, _, _, inside = node
            undecided = 0 if inside is None else inside[0]
            # Among ties, the prefix that is nearest to its end comes first. Where very many tie, such as a cost under
            # a budget of its own, breadth-first search would not end.
            remaining = (len(self.grid.layers) - len(choices)) * 64 + undecided
            heapq.heappush(self.heap, (-round(bound / self.grain), remaining, next(self.ticket), node))

    def _expand(self, prefix: tuple[int, ...], score: float, left: npt.NDArray[np.int64]) -> None:
        """Push all choices of the next layer, or all numbers of branches if it is multi-branch."""
        number = len(prefix)
        layer, after = self.grid.layers[number], self.tables[number + 1]
        if isinstance(layer, MultiBranchLayer):
            last = self._layer_stages(number)[-1]
            for k in layer.allowed:
                rest = left - layer.joins[k]
                if np.all(rest >= 0):
                    bound = score + float(last[(k, *rest)])
                    self._push(bound, (prefix, score, rest, (len(layer.steps), k, 0)))
            return
        if isinstance(layer, SinglePathLayer):
            options = layer.choices(after, self.scores[number], left)
        else:
            options = layer.choices(after, self.scores[number], left, prefix[-1] if prefix else 0)
        for choice, gained, following, rest in options:
            self._push(score + gained + following, ((*prefix, choice), score + gained, rest, None))

    def _layer_stages(self, number: int) -> list[Table]:
        if number not in self._stages:
            layer = self.grid.layers[number]
            assert isinstance(layer, MultiBranchLayer)
            exclude = np.zeros(len(layer.steps))
            self._stages[number] = layer.stages(
                self.tables[number + 1], MaxArithmetic(), self.scores[number], exclude
            )
        return self._stages[number]

    def _branch(
        self, prefix: tuple[int, ...], score: float, left: npt.NDArray[np.int64], inside: tuple[int, int, int]
    ) -> None:
        """Push both decisions on one candidate of a multi-branch layer.

        `inside` has the number of undecided candidates, the number of branches to choose from them, and the bit set of
        the branches that were chosen.
        """
        undecided, to_choose, bits = inside
        if undecided == 0:
            following = float(self.tables[len(prefix) + 1][tuple(left)])
            self._push(score + following, ((*prefix, bits), score, left, None))
            return
        number = len(prefix)
        layer = self.grid.layers[number]
        assert isinstance(layer, MultiBranchLayer)
        branch = undecided - 1
        before = self._layer_stages(number)[branch]
        self._push(
            score + float(before[(to_choose, *left)]), (prefix, score, left, (branch, to_choose, bits))
        )
        rest = left - layer.steps[branch]
        if to_choose and np.all(rest >= 0):
            gained = score + float(self.scores[number][branch])
            bound = gained + float(before[(to_choose - 1, *rest)])
            self._push(bound, (prefix, gained, rest, (branch, to_choose - 1, bits | 1 << branch)))
