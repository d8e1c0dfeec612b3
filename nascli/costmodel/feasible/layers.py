"""How one layer moves a table of completions backward, and draws a choice forward.

A table has one entry per state, which says how much of each budget is left: `after[s]` is the weight of
all completions of the later layers from state s. Weights are counts, probabilities, or best scores,
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
    """Which semiring tables are in; `unit` is the weight of having nothing left to choose."""

    unit: int

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """A table of nothing."""

    def accumulate(self, into: Table, values: Table) -> None:
        """Add alternatives in place."""

    def weigh(self, values: Table, weight: float) -> Table:
        """Follow a choice of this weight."""


class SumArithmetic:
    """Weights that add and multiply, in floating point."""

    unit = 1

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Nothing is 0."""
        return np.zeros(shape)

    def accumulate(self, into: Table, values: Table) -> None:
        """Alternatives add."""
        into += values

    def weigh(self, values: Table, weight: float) -> Table:
        """Weights multiply."""
        return values if weight == 1 else values * weight


class CountArithmetic:
    """Exact counts of architectures: 64-bit integers, modulo a prime where they would overflow."""

    unit = 1

    def __init__(self, prime: int | None) -> None:
        self.prime = prime

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Nothing is 0."""
        return np.zeros(shape, dtype=np.uint64)

    def accumulate(self, into: Table, values: Table) -> None:
        """Alternatives add."""
        into += values
        if self.prime is not None:
            np.subtract(into, np.uint64(self.prime), out=into, where=into >= self.prime)

    def weigh(self, values: Table, weight: float) -> Table:
        """Every choice counts once."""
        return values


class MaxArithmetic:
    """The best additive score: alternatives compete, choices add."""

    unit = 0

    def zeros(self, shape: tuple[int, ...]) -> Table:
        """Nothing is minus infinity."""
        return np.full(shape, -np.inf)

    def accumulate(self, into: Table, values: Table) -> None:
        """The better alternative stays."""
        np.maximum(into, values, out=into)

    def weigh(self, values: Table, weight: float) -> Table:
        """A choice adds its score."""
        return values + weight


def shift_table(table: Table, step: Steps, arithmetic: Arithmetic, into: Table, weight: float) -> None:
    """Accumulate into each state what `table` holds after spending `step`."""
    shape = table.shape
    if any(s >= size for s, size in zip(step, shape, strict=True)):
        return
    target = tuple(slice(int(s), None) for s in step)
    source = tuple(slice(0, size - int(s)) for s, size in zip(step, shape, strict=True))
    arithmetic.accumulate(into[target], arithmetic.weigh(table[source], weight))


class _Lookup:
    """Reads a table at `left - step` for many samples, giving `nothing` where the budget is overdrawn."""

    def __init__(self, table: Table, steps: Steps, nothing: float) -> None:
        # Padding in front stands for overdrawn states, so no reading needs a mask.
        pad = np.minimum(steps.max(axis=0, initial=0), table.shape).astype(np.int64)
        padded = np.pad(table, [(int(p), 0) for p in pad], constant_values=nothing)
        strides = np.array([int(np.prod(padded.shape[i + 1 :])) for i in range(padded.ndim)], dtype=np.int64)
        self._flat = padded.ravel()
        self._strides = strides
        self._base = int(pad @ strides)
        self._offsets = np.minimum(steps, pad) @ strides

    def index(self, left: Left) -> npt.NDArray[np.int64]:
        """Where the samples' states are."""
        return left @ self._strides + self._base

    def read(self, index: npt.NDArray[np.int64], choice: int) -> Array:
        """What is there after one choice."""
        return np.asarray(self._flat[index - self._offsets[choice]])


def draw_choice(masses: Array, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """For each column of `(options, n)` masses, an option drawn in proportion."""
    cumulative = np.cumsum(masses, axis=0)
    draws = rng.random(masses.shape[1]) * cumulative[-1]
    chosen = (cumulative <= draws).sum(axis=0)
    last = masses.shape[0] - 1 - np.argmax(masses[::-1] > 0, axis=0)
    inside: npt.NDArray[np.intp] = np.minimum(chosen, last)
    return inside


@dataclass(frozen=True)
class SinglePathLayer:
    """A layer that takes one candidate.

    Attributes:
        steps: `(candidates, axes)` cells that each candidate spends.
    """

    steps: Steps

    def backward(self, after: Table, arithmetic: Arithmetic, weights: Sequence[float] | Array) -> Table:
        """The table before this layer."""
        here = arithmetic.zeros(after.shape)
        for step, weight in zip(self.steps, weights, strict=True):
            if weight != 0 or isinstance(arithmetic, MaxArithmetic):
                shift_table(after, step, arithmetic, here, float(weight))
        return here

    def forward(
        self, after: Table, weights: Array, left: Left, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a candidate for each sample; returns codes and what is left."""
        lookup = _Lookup(after, self.steps, 0.0)
        index = lookup.index(left)
        masses = np.stack([lookup.read(index, a) * weight for a, weight in enumerate(weights)])
        chosen = draw_choice(masses, rng)
        return chosen.astype(np.int64), left - self.steps[chosen]

    def choices(self, after: Table, scores: Array, state: Left) -> list[tuple[int, float, float, Left]]:
        """Every candidate with its score, the best score after it, and what is left then."""
        found = []
        for code, (step, score) in enumerate(zip(self.steps, scores, strict=True)):
            if np.all(step <= state):
                left = state - step
                found.append((code, float(score), float(after[tuple(left)]), left))
        return found


@dataclass(frozen=True)
class BranchWeights:
    """A distribution over the bit sets of a layer: branches independently, or one of some fixed sets.

    Attributes:
        include: `(candidates,)` weight of taking each branch.
        exclude: `(candidates,)` weight of leaving it.
        free: weight of the independent part.
        fixed: (code, weight) of particular sets.
    """

    include: Array
    exclude: Array
    free: float = 1.0
    fixed: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class MultiBranchLayer:
    """A layer that takes a set of candidates in parallel.

    Attributes:
        steps: `(candidates, axes)` cells of each branch.
        joins: `(most + 1, axes)` cells of joining k branches.
        allowed: numbers of branches that are allowed.
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
        """Tables `(most + 1, *states)` after the first 0, 1, ... branches were decided.

        Entry [i][k] weighs the ways to take k of the first i branches and then complete the network.
        """
        most = len(self.joins) - 1
        current = arithmetic.zeros((most + 1, *after.shape))
        arithmetic.accumulate(current[0], after)
        found = [current]
        for step, take, leave in zip(self.steps, include, exclude, strict=True):
            new = arithmetic.zeros(current.shape)
            if leave != 0 or isinstance(arithmetic, MaxArithmetic):
                arithmetic.accumulate(new, arithmetic.weigh(current, float(leave)))
            if take != 0 or isinstance(arithmetic, MaxArithmetic):
                for k in range(1, most + 1):
                    shift_table(current[k - 1], step, arithmetic, new[k], float(take))
            current = new
            found.append(current)
        return found

    def _joined(self, last: Table, arithmetic: Arithmetic, here: Table, weight: float) -> None:
        for k in self.allowed:
            shift_table(last[k], self.joins[k], arithmetic, here, weight)

    def backward(self, after: Table, arithmetic: Arithmetic, branch_weights: BranchWeights) -> Table:
        """The table before this layer."""
        here = arithmetic.zeros(after.shape)
        if branch_weights.free != 0:
            last = self.stages(after, arithmetic, branch_weights.include, branch_weights.exclude)[-1]
            self._joined(last, arithmetic, here, branch_weights.free if arithmetic.unit else 0.0)
        for code, weight in branch_weights.fixed:
            shift_table(after, self.step_of(code), arithmetic, here, weight)
        return here

    def step_of(self, code: int) -> Steps:
        """Cells that a bit set spends."""
        chosen = [i for i in range(len(self.steps)) if code >> i & 1]
        total: Steps = self.steps[chosen].sum(axis=0) + self.joins[len(chosen)]
        return total

    def forward(
        self, after: Table, branch_weights: BranchWeights, left: Left, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a bit set for each sample; returns codes and what is left."""
        stages = self.stages(after, SumArithmetic(), branch_weights.include, branch_weights.exclude)
        options: list[Array] = []
        for k in self.allowed:
            lookup = _Lookup(stages[-1][k], self.joins[k : k + 1], 0.0)
            options.append(lookup.read(lookup.index(left), 0) * branch_weights.free)
        for code, weight in branch_weights.fixed:
            lookup = _Lookup(after, self.step_of(code)[None], 0.0)
            options.append(lookup.read(lookup.index(left), 0) * weight)
        chosen = draw_choice(np.stack(options), rng)
        codes = np.zeros(len(left), dtype=np.int64)
        left = left.copy()
        for position, (code, _) in enumerate(branch_weights.fixed, len(self.allowed)):
            here = chosen == position
            codes[here] = code
            left[here] -= self.step_of(code)
        free = np.flatnonzero(chosen < len(self.allowed))
        if len(free):
            counts = np.array(self.allowed)[chosen[free]]
            drawn, rest = self._draw(stages, branch_weights, counts, left[free] - self.joins[counts], rng)
            codes[free], left[free] = drawn, rest
        return codes, left

    def _draw(
        self,
        stages: list[Table],
        branch_weights: BranchWeights,
        remaining: npt.NDArray[np.int64],
        left: Left,
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], Left]:
        codes = np.zeros(len(left), dtype=np.int64)
        shape = stages[0].shape[1:]
        strides = np.array([int(np.prod(shape[i + 1 :])) for i in range(len(shape))], dtype=np.int64)
        per_count = int(np.prod(shape))
        state = left @ strides
        for i in range(len(self.steps) - 1, -1, -1):
            before = stages[i].reshape(-1)
            step = self.steps[i]
            possible = (remaining > 0) & np.all(left >= step, axis=1)
            source = np.where(possible, (remaining - 1) * per_count + state - step @ strides, 0)
            mass = np.where(possible, before[source] * branch_weights.include[i], 0.0)
            stays = before[remaining * per_count + state] * branch_weights.exclude[i]
            # Decided by the two masses, so that rounding of their sum cannot lead into a dead end.
            taken = rng.random(len(left)) * (mass + stays) < mass
            codes[taken] |= np.int64(1) << i
            remaining = remaining - taken
            left = left - taken[:, None] * step
            state = state - taken * (step @ strides)
        return codes, left


Layer = SinglePathLayer | MultiBranchLayer


@dataclass(frozen=True)
class PairedLayer:
    """A single-path layer whose tables have a leading axis: the candidate of the layer before.

    Attributes:
        steps: `(before, candidates, axes)` cells that each pair spends.
    """

    steps: Steps

    def backward(self, after: Table, arithmetic: Arithmetic, weights: Array) -> Table:
        """The tables before this layer, one per candidate of the layer before."""
        count, candidates, axes = self.steps.shape
        shape = after.shape[after.ndim - axes :]
        here = arithmetic.zeros((count, *shape))
        for before in range(count):
            for code in range(candidates):
                weight = float(weights[code])
                if weight == 0 and not isinstance(arithmetic, MaxArithmetic):
                    continue
                source = after[code] if after.ndim > axes else after
                shift_table(source, self.steps[before, code], arithmetic, here[before], weight)
        return here

    def forward(
        self,
        after: Table,
        weights: Array,
        left: Left,
        before: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a candidate for each sample, given the candidates before."""
        _, candidates, axes = self.steps.shape
        masses = np.zeros((candidates, len(left)))
        for code in range(candidates):
            rest = left - self.steps[before, code]
            inside = np.all(rest >= 0, axis=1)
            source = after[code] if after.ndim > axes else after
            index = tuple(np.where(inside, rest[:, axis], 0) for axis in range(axes))
            masses[code] = np.where(inside, source[index], 0.0) * weights[code]
        chosen = draw_choice(masses, rng).astype(np.int64)
        return chosen, left - self.steps[before, chosen]

    def choices(
        self, after: Table, scores: Array, state: Left, before: int
    ) -> list[tuple[int, float, float, Left]]:
        """Every candidate with its score, the best score after it, and what is left then."""
        axes = self.steps.shape[2]
        found = []
        for code, score in enumerate(scores):
            left = state - self.steps[before, code]
            if np.all(left >= 0):
                source = after[code] if after.ndim > axes else after
                found.append((code, float(score), float(source[tuple(left)]), left))
        return found
