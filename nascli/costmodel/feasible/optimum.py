"""The best architectures of a feasible set by an additive score, exactly."""

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
# Bounds that agree to this share of the largest scores together are the same but for rounding.
_TIE = 1e-11
# So many of a set that lacks nothing are looked at for those that are feasible.
_PATIENCE = 20_000


def best(feasible: FeasibleSet, scores: Sequence[Array]) -> Population:
    """The `(layers,)` architecture with the highest score."""
    row: Population = k_best(feasible, scores, 1)[0]
    return row


def k_best(feasible: FeasibleSet, scores: Sequence[Array], k: int) -> Population:
    """The `(k, layers)` architectures with the highest scores, best first; fewer if there are fewer.

    Args:
        feasible: where to look.
        scores: per layer `(candidates,)`; branches of a multi-branch layer add up.
        k: how many.

    A best-first search whose bound, the dynamic programme's own table, is exact: nothing is expanded that
    is not a prefix of one of the answers or ties with it.
    """
    space = feasible.space
    found: dict[tuple[int, ...], None] = {}
    if feasible.relaxed is not None:
        for number, codes in enumerate(_searched(feasible.relaxed, scores)):
            if feasible.contains(np.array([codes], dtype=space.dtype))[0]:
                found[codes] = None
            if len(found) == k or number == _PATIENCE:
                break
        else:
            return _rows(found, space)
    # Of one budget, or where too much that scores better is beyond the bounds: the grid on which nothing is.
    if len(found) < k:
        found |= dict.fromkeys(itertools.islice(_searched(feasible.grid, scores), k))
    rows = _rows(found, space)
    return rows[np.argsort(-additive(feasible, scores, rows), kind="stable")][:k]


def _searched(grid: DynamicProgramme, scores: Sequence[Array]) -> Iterator[tuple[int, ...]]:
    return iter(_Search(grid, scores, _tables(grid, scores), grid.start))


def _rows(found: Iterable[tuple[int, ...]], space: Space) -> Population:
    rows = list(found)
    return np.array(rows, dtype=space.dtype).reshape(len(rows), len(space.layers))


def pareto(feasible: FeasibleSet, scores: Sequence[Array]) -> Population:
    """Architectures that no other beats in both score and the one bounded cost, cheapest first.

    Raises:
        ConstraintError: not exactly one binding budget.
    """
    if len(feasible.axes) != 1:
        raise ConstraintError(f"a front needs one binding budget, got {len(feasible.axes)}")
    grid = feasible.grid
    tables = _tables(grid, scores, spent_whole=True)
    first = tables[0][0] if isinstance(grid.layers[0], PairedLayer) else tables[0]
    (axis,) = feasible.axes
    rows: list[tuple[int, ...]] = []
    best_so_far = -np.inf
    # What is spent is told apart cell by cell, from the lower bound up.
    for spent in range(max(0, axis.size - 1 - axis.leftover), axis.size):
        value = float(first[spent])
        if value > best_so_far + 1e-12 * max(1.0, abs(value)):
            best_so_far = value
            rows.append(next(iter(_Search(grid, scores, tables, (spent,)))))
    codes = _rows(rows, feasible.space)
    # Rounding may order neighbours wrongly; the real costs decide.
    costs = feasible.axes[0].budget.cost(codes)
    values = additive(feasible, scores, codes)
    kept, top = [], -np.inf
    for index in np.lexsort((-values, costs)):
        if values[index] > top:
            kept.append(index)
            top = values[index]
    return codes[kept]


def additive(feasible: FeasibleSet, scores: Sequence[Array], codes: Population) -> Array:
    """`(n,)` scores of `(n, layers)` architectures."""
    total = np.zeros(len(codes))
    for number, (layer, values) in enumerate(zip(feasible.space.layers, scores, strict=True)):
        column = codes[:, number].astype(np.int64)
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
    """Best-first search over prefixes; inside a multi-branch layer also over its branches."""

    def __init__(
        self, grid: DynamicProgramme, scores: Sequence[Array], tables: list[Table], start: tuple[int, ...]
    ) -> None:
        self.grid = grid
        self.scores = [np.asarray(values, dtype=float) for values in scores]
        self.tables = tables
        self.start = np.array(start, dtype=np.int64)
        self.ticket = itertools.count()
        self.heap: list[tuple[float, int, int, Any]] = []
        # Sums of scores are exact to a share of the largest addends, whatever the best one comes to.
        self.grain = _TIE * (sum(float(np.abs(values).max()) for values in self.scores) or 1.0)
        self._stages: dict[int, list[Table]] = {}

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        """All of positive weight, best first."""
        layers = len(self.grid.layers)
        first = self.tables[0][0] if isinstance(self.grid.layers[0], PairedLayer) else self.tables[0]
        whole = float(first[tuple(self.start)])
        self._push(whole, ((), 0.0, self.start, None))
        while self.heap:
            *_, (codes, score, left, inside) = heapq.heappop(self.heap)
            if len(codes) == layers:
                yield codes
            elif inside is not None:
                self._branch(codes, score, left, inside)
            else:
                self._expand(codes, score, left)

    def _push(self, bound: float, node: Any) -> None:
        if bound > -np.inf:
            codes, _, _, inside = node
            undecided = 0 if inside is None else inside[0]
            # Of those that tie, the one that is furthest on: where very many tie (a cost under a budget of its
            # own) going through them side by side would never end.
            behind = (len(self.grid.layers) - len(codes)) * 64 + undecided
            heapq.heappush(self.heap, (-round(bound / self.grain), behind, next(self.ticket), node))

    def _expand(self, codes: tuple[int, ...], score: float, left: npt.NDArray[np.int64]) -> None:
        number = len(codes)
        layer, after = self.grid.layers[number], self.tables[number + 1]
        if isinstance(layer, MultiBranchLayer):
            last = self._layer_stages(number)[-1]
            for k in layer.allowed:
                rest = left - layer.joins[k]
                if np.all(rest >= 0):
                    bound = score + float(last[(k, *rest)])
                    self._push(bound, (codes, score, rest, (len(layer.steps), k, 0)))
            return
        if isinstance(layer, SinglePathLayer):
            choices = layer.choices(after, self.scores[number], left)
        else:
            choices = layer.choices(after, self.scores[number], left, codes[-1] if codes else 0)
        for code, gained, following, rest in choices:
            self._push(score + gained + following, ((*codes, code), score + gained, rest, None))

    def _layer_stages(self, number: int) -> list[Table]:
        if number not in self._stages:
            layer = self.grid.layers[number]
            assert isinstance(layer, MultiBranchLayer)
            leave = np.zeros(len(layer.steps))
            self._stages[number] = layer.stages(
                self.tables[number + 1], MaxArithmetic(), self.scores[number], leave
            )
        return self._stages[number]

    def _branch(
        self, codes: tuple[int, ...], score: float, left: npt.NDArray[np.int64], inside: tuple[int, int, int]
    ) -> None:
        """Decide the next branch of a layer: `inside` is (branches undecided, still to take, bits)."""
        undecided, to_take, bits = inside
        if undecided == 0:
            following = float(self.tables[len(codes) + 1][tuple(left)])
            self._push(score + following, ((*codes, bits), score, left, None))
            return
        number = len(codes)
        layer = self.grid.layers[number]
        assert isinstance(layer, MultiBranchLayer)
        branch = undecided - 1
        before = self._layer_stages(number)[branch]
        self._push(score + float(before[(to_take, *left)]), (codes, score, left, (branch, to_take, bits)))
        rest = left - layer.steps[branch]
        if to_take and np.all(rest >= 0):
            gained = score + float(self.scores[number][branch])
            bound = gained + float(before[(to_take - 1, *rest)])
            self._push(bound, (codes, gained, rest, (branch, to_take - 1, bits | 1 << branch)))
