"""The step of the dynamic programme over one layer: backward for tables of completions, forward for draws.

A state says how many cells of each budget are left. A table has one entry per state: `after[s]` is the total weight of
all completions of an architecture by the later layers from state s. Weights are counts, probabilities, or best scores,
depending on the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Table = npt.NDArray[Any]
Array = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]
Left = npt.NDArray[np.int64]


class Arithmetic(Protocol):
    """A semiring for tables of completions.

    Attributes:
        unit: Weight of the empty completion.
    """

    unit: int

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Return a table without completions."""

    def accumulate(self, into: Table, values: Table) -> None:
        """Add alternative completions to `into` in place."""

    def weigh(self, values: Table, weight: float) -> Table:
        """Return the weights of completions that begin with a choice of this weight."""


class SumArithmetic:
    """Floating-point weights: alternatives add, and choices multiply."""

    unit = 1

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Return zeros."""
        return np.zeros(shape)

    def accumulate(self, into: Table, values: Table) -> None:
        """Add alternatives."""
        into += values

    def weigh(self, values: Table, weight: float) -> Table:
        """Multiply by the weight of the choice."""
        return values if weight == 1 else values * weight


class CountArithmetic:
    """Exact counts in 64-bit integers.

    Args:
        prime: Modulus below 2^62 where counts would overflow, or None.
    """

    unit = 1

    def __init__(self, prime: int | None) -> None:
        self.prime = prime

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Return zeros."""
        return np.zeros(shape, dtype=np.uint64)

    def accumulate(self, into: Table, values: Table) -> None:
        """Add alternatives."""
        into += values
        if self.prime is not None:
            np.subtract(into, np.uint64(self.prime), out=into, where=into >= self.prime)

    def weigh(self, values: Table, weight: float) -> Table:
        """Return the counts unchanged, because every choice counts once."""
        return values


class MaxArithmetic:
    """Best additive scores: the better alternative counts, and choices add."""

    unit = 0

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Return minus infinity."""
        return np.full(shape, -np.inf)

    def accumulate(self, into: Table, values: Table) -> None:
        """Take the maximum of alternatives."""
        np.maximum(into, values, out=into)

    def weigh(self, values: Table, weight: float) -> Table:
        """Add the score of the choice."""
        return values + weight


def shift_table(table: Table, step: Steps, arithmetic: Arithmetic, into: Table, weight: float) -> None:
    """Accumulate the completions after a choice that spends cells.

    Args:
        table: Table after the choice.
        step: `(axes,)` cells that the choice spends.
        arithmetic: Arithmetic of the tables.
        into: Table before the choice, changed in place.
        weight: Weight of the choice.
    """
    shape = table.shape
    if any(s >= size for s, size in zip(step, shape, strict=True)):
        return
    target = tuple(slice(int(s), None) for s in step)
    source = tuple(slice(0, size - int(s)) for s, size in zip(step, shape, strict=True))
    arithmetic.accumulate(into[target], arithmetic.weigh(table[source], weight))


class _Lookup:
    """Look-up of a table at `left - step` for many states, with `nothing` where a budget is overspent."""

    def __init__(self, table: Table, steps: Steps, nothing: float) -> None:
        # Padding in front stands for overspent states, so that no look-up needs a mask.
        pad = np.minimum(steps.max(axis=0, initial=0), table.shape).astype(np.int64)
        padded = np.pad(table, [(int(p), 0) for p in pad], constant_values=nothing)
        strides = np.array([int(np.prod(padded.shape[i + 1 :])) for i in range(padded.ndim)], dtype=np.int64)
        self._flat = padded.ravel()
        self._strides = strides
        self._base = int(pad @ strides)
        self._offsets = np.minimum(steps, pad) @ strides

    def index(self, left: Left) -> npt.NDArray[np.int64]:
        """Return the positions of `(n, axes)` states in the flattened table."""
        return left @ self._strides + self._base

    def read(self, index: npt.NDArray[np.int64], choice: int) -> Array:
        """Return the entries after the choice with this index."""
        return np.asarray(self._flat[index - self._offsets[choice]])


def draw_choice(masses: Array, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Draw one option for each column of `(options, n)` masses, with probability proportional to its mass."""
    cumulative = np.cumsum(masses, axis=0)
    draws = rng.random(masses.shape[1]) * cumulative[-1]
    chosen = (cumulative <= draws).sum(axis=0)
    last = masses.shape[0] - 1 - np.argmax(masses[::-1] > 0, axis=0)
    options: npt.NDArray[np.intp] = np.minimum(chosen, last)
    return options


@dataclass(frozen=True)
class SinglePathLayer:
    """A layer that chooses one candidate.

    Attributes:
        steps: `(candidates, axes)` cells that each candidate spends.
    """

    steps: Steps

    def backward(self, after: Table, arithmetic: Arithmetic, weights: Sequence[float] | Array) -> Table:
        """Return the table before this layer."""
        here = arithmetic.zeros(after.shape)
        for step, weight in zip(self.steps, weights, strict=True):
            if weight != 0 or isinstance(arithmetic, MaxArithmetic):
                shift_table(after, step, arithmetic, here, float(weight))
        return here

    def forward(
        self, after: Table, weights: Array, left: Left, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a candidate for each sample.

        Args:
            after: Table after this layer.
            weights: `(candidates,)` weights.
            left: `(n, axes)` states of the samples.
            rng: Random generator.

        Returns:
            `(n,)` choices, and `(n, axes)` states after them.
        """
        lookup = _Lookup(after, self.steps, 0.0)
        index = lookup.index(left)
        masses = np.stack([lookup.read(index, a) * weight for a, weight in enumerate(weights)])
        chosen = draw_choice(masses, rng)
        return chosen.astype(np.int64), left - self.steps[chosen]

    def choices(self, after: Table, scores: Array, state: Left) -> list[tuple[int, float, float, Left]]:
        """Return every affordable candidate with its score, the best score after it, and the state after it."""
        options = []
        for choice, (step, score) in enumerate(zip(self.steps, scores, strict=True)):
            if np.all(step <= state):
                left = state - step
                options.append((choice, float(score), float(after[tuple(left)]), left))
        return options


@dataclass(frozen=True)
class BranchWeights:
    """Weights of the bit sets of a multi-branch layer.

    The weight of a bit set is `free` times the product over its branches of `include` and over the other candidates of
    `exclude`, plus its weight in `fixed`.

    Attributes:
        include: `(candidates,)` weight of choosing each branch.
        exclude: `(candidates,)` weight of not choosing it.
        free: Weight of the part in which branches are independent.
        fixed: Pairs of a bit set and a further weight.
    """

    include: Array
    exclude: Array
    free: float = 1.0
    fixed: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class MultiBranchLayer:
    """A layer that chooses a set of parallel candidates.

    Attributes:
        steps: `(candidates, axes)` cells that each branch spends.
        joins: `(max_branches + 1, axes)` cells that joining 0, 1, ... branches spends.
        allowed: Numbers of branches that are allowed.
    """

    steps: Steps
    joins: Steps
    allowed: tuple[int, ...]

    def stages(
        self,
        after: Table,
        arithmetic: Arithmetic,
        include: Sequence[float] | Array,
        exclude: Sequence[float] | Array,
    ) -> list[Table]:
        """Return the tables within this layer, after the first 0, 1, ... candidates were decided.

        Returns:
            Tables of shape `(max_branches + 1, *states)`. Entry `[i][k]` is the weight of all ways to choose k of the
            first i candidates and to complete the architecture.
        """
        max_branches = len(self.joins) - 1
        current = arithmetic.zeros((max_branches + 1, *after.shape))
        arithmetic.accumulate(current[0], after)
        tables = [current]
        for step, take, leave in zip(self.steps, include, exclude, strict=True):
            new = arithmetic.zeros(current.shape)
            if leave != 0 or isinstance(arithmetic, MaxArithmetic):
                arithmetic.accumulate(new, arithmetic.weigh(current, float(leave)))
            if take != 0 or isinstance(arithmetic, MaxArithmetic):
                for k in range(1, max_branches + 1):
                    shift_table(current[k - 1], step, arithmetic, new[k], float(take))
            current = new
            tables.append(current)
        return tables

    def _add_joins(self, last: Table, arithmetic: Arithmetic, here: Table, weight: float) -> None:
        for k in self.allowed:
            shift_table(last[k], self.joins[k], arithmetic, here, weight)

    def backward(self, after: Table, arithmetic: Arithmetic, weights: BranchWeights) -> Table:
        """Return the table before this layer."""
        here = arithmetic.zeros(after.shape)
        if weights.free != 0:
            last = self.stages(after, arithmetic, weights.include, weights.exclude)[-1]
            self._add_joins(last, arithmetic, here, weights.free if arithmetic.unit else 0.0)
        for choice, weight in weights.fixed:
            shift_table(after, self.step_of(choice), arithmetic, here, weight)
        return here

    def step_of(self, choice: int) -> Steps:
        """Return the `(axes,)` cells that a bit set spends."""
        chosen = [i for i in range(len(self.steps)) if choice >> i & 1]
        total: Steps = self.steps[chosen].sum(axis=0) + self.joins[len(chosen)]
        return total

    def forward(
        self, after: Table, weights: BranchWeights, left: Left, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a bit set for each sample; see `SinglePathLayer.forward`."""
        stages = self.stages(after, SumArithmetic(), weights.include, weights.exclude)
        options: list[Array] = []
        for k in self.allowed:
            lookup = _Lookup(stages[-1][k], self.joins[k : k + 1], 0.0)
            options.append(lookup.read(lookup.index(left), 0) * weights.free)
        for choice, weight in weights.fixed:
            lookup = _Lookup(after, self.step_of(choice)[None], 0.0)
            options.append(lookup.read(lookup.index(left), 0) * weight)
        drawn = draw_choice(np.stack(options), rng)
        choices = np.zeros(len(left), dtype=np.int64)
        left = left.copy()
        for position, (choice, _) in enumerate(weights.fixed, len(self.allowed)):
            here = drawn == position
            choices[here] = choice
            left[here] -= self.step_of(choice)
        free = np.flatnonzero(drawn < len(self.allowed))
        if len(free):
            counts = np.array(self.allowed)[drawn[free]]
            choices[free], left[free] = self._draw_branches(
                stages, weights, counts, left[free] - self.joins[counts], rng
            )
        return choices, left

    def _draw_branches(
        self,
        stages: list[Table],
        weights: BranchWeights,
        remaining: npt.NDArray[np.int64],
        left: Left,
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], Left]:
        choices = np.zeros(len(left), dtype=np.int64)
        shape = stages[0].shape[1:]
        strides = np.array([int(np.prod(shape[i + 1 :])) for i in range(len(shape))], dtype=np.int64)
        per_count = int(np.prod(shape))
        state = left @ strides
        for i in range(len(self.steps) - 1, -1, -1):
            before = stages[i].reshape(-1)
            step = self.steps[i]
            possible = (remaining > 0) & np.all(left >= step, axis=1)
            source = np.where(possible, (remaining - 1) * per_count + state - step @ strides, 0)
            included = np.where(possible, before[source] * weights.include[i], 0.0)
            excluded = before[remaining * per_count + state] * weights.exclude[i]
            # Comparing with the mass itself keeps rounding of the sum from leading into a dead end.
            taken = rng.random(len(left)) * (included + excluded) < included
            choices[taken] |= np.int64(1) << i
            remaining = remaining - taken
            left = left - taken[:, None] * step
            state = state - taken * (step @ strides)
        return choices, left


Layer = SinglePathLayer | MultiBranchLayer


@dataclass(frozen=True)
class PairedLayer:
    """A single-path layer whose tables have a leading axis: the candidate of the layer before.

    Attributes:
        steps: `(before, candidates, axes)` cells that each pair spends.
    """

    steps: Steps

    def backward(self, after: Table, arithmetic: Arithmetic, weights: Array) -> Table:
        """Return the tables before this layer, one for each candidate of the layer before."""
        count, candidates, axes = self.steps.shape
        shape = after.shape[after.ndim - axes :]
        here = arithmetic.zeros((count, *shape))
        for before in range(count):
            for choice in range(candidates):
                weight = float(weights[choice])
                if weight == 0 and not isinstance(arithmetic, MaxArithmetic):
                    continue
                source = after[choice] if after.ndim > axes else after
                shift_table(source, self.steps[before, choice], arithmetic, here[before], weight)
        return here

    def forward(
        self,
        after: Table,
        weights: Array,
        left: Left,
        before: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a candidate for each sample, given its `(n,)` candidates in the layer before."""
        _, candidates, axes = self.steps.shape
        masses = np.zeros((candidates, len(left)))
        for choice in range(candidates):
            rest = left - self.steps[before, choice]
            inside = np.all(rest >= 0, axis=1)
            source = after[choice] if after.ndim > axes else after
            index = tuple(np.where(inside, rest[:, axis], 0) for axis in range(axes))
            masses[choice] = np.where(inside, source[index], 0.0) * weights[choice]
        chosen = draw_choice(masses, rng).astype(np.int64)
        return chosen, left - self.steps[before, chosen]

    def choices(
        self, after: Table, scores: Array, state: Left, before: int
    ) -> list[tuple[int, float, float, Left]]:
        """Return every affordable candidate with its score, the best score after it, and the state after it."""
        axes = self.steps.shape[2]
        options = []
        for choice, score in enumerate(scores):
            left = state - self.steps[before, choice]
            if np.all(left >= 0):
                source = after[choice] if after.ndim > axes else after
                options.append((choice, float(score), float(source[tuple(left)]), left))
        return options
