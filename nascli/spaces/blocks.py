"""Blocks, of which spaces and networks are sequences: fixed blocks, and layers that choose between candidates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from nascli.errors import SpaceError
from nascli.spaces.operators.definition import Operator, Value, add, gain
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Builder

Join = Literal["single", "normal", "reduction"]
MAX_BRANCH_CANDIDATES = 62


@dataclass(frozen=True)
class FixedBlock:
    """A block without a choice.

    Attributes:
        name: Name of the block within its space or network.
        operator: The operator of the block.
    """

    name: str
    operator: Operator

    @property
    def input(self) -> Shape:
        """Shape of the input."""
        return self.operator.input

    @property
    def output(self) -> Shape:
        """Shape of the output."""
        return self.operator.output

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The one operator of the block."""
        return (self.operator,)


@dataclass(frozen=True)
class Layer:
    """A block that chooses between candidates.

    The choice of a single-path layer is the index of a candidate. The choice of a multi-branch layer is a bit set:
    bit i says whether candidate i is one of the parallel branches.

    Attributes:
        name: Name of the layer within its space.
        candidates: Operators with the same input shape and the same output shape.
        join: How chosen candidates are combined. A 'single' layer takes exactly one candidate. A 'normal' layer
            averages the chosen branches and the input, and may have no branch at all. A 'reduction' layer averages
            the chosen branches and has at least one (NSE, Eq. 1).
        max_branches: Maximum number of branches of a multi-branch layer.

    Raises:
        SpaceError: There is no candidate, there are too many for a bit set, shapes differ, or `max_branches` is
            below 1.
    """

    name: str
    candidates: tuple[Operator, ...]
    join: Join = "single"
    max_branches: int = 1

    def __post_init__(self) -> None:
        if not self.candidates:
            raise SpaceError(f"layer {self.name}: needs at least one candidate")
        first = self.candidates[0]
        for candidate in self.candidates[1:]:
            if (candidate.input, candidate.output) != (first.input, first.output):
                raise SpaceError(
                    f"layer {self.name}: all candidates must map {first.input} to {first.output}, "
                    f"but {candidate.label} does not"
                )
        if self.join == "single":
            return
        if len(self.candidates) > MAX_BRANCH_CANDIDATES:
            raise SpaceError(
                f"layer {self.name}: at most {MAX_BRANCH_CANDIDATES} candidates fit a bit set, "
                f"got {len(self.candidates)}"
            )
        if self.max_branches < 1:
            raise SpaceError(f"layer {self.name}: max_branches must be at least 1, got {self.max_branches}")
        if self.join == "normal" and first.input != first.output:
            raise SpaceError(
                f"layer {self.name}: a normal layer keeps its shape, got {first.input} to {first.output}"
            )

    @property
    def input(self) -> Shape:
        """Shape of the input of every candidate."""
        return self.candidates[0].input

    @property
    def output(self) -> Shape:
        """Shape of the output of every candidate."""
        return self.candidates[0].output

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The candidates, under the name that fixed blocks have for their operator."""
        return self.candidates

    @property
    def min_branches(self) -> int:
        """Minimum number of branches: 0 for a normal layer, which may be skipped, otherwise 1."""
        return 0 if self.join == "normal" else 1

    @property
    def size(self) -> int:
        """Number of different choices, exactly."""
        n = len(self.candidates)
        if self.join == "single":
            return n
        return sum(math.comb(n, k) for k in range(self.min_branches, min(self.max_branches, n) + 1))

    def choices(self) -> list[int]:
        """Every choice that the layer allows, in ascending order; there are `size` of them."""
        indices = range(len(self.candidates))
        if self.join == "single":
            return list(indices)
        branch_sets = itertools.chain.from_iterable(
            itertools.combinations(indices, k) for k in range(self.min_branches, self.max_branches + 1)
        )
        return sorted(sum(1 << index for index in branches) for branches in branch_sets)

    def sample(
        self, n: int, rng: np.random.Generator, alive: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.int64]:
        """Draw choices uniformly from all that the layer allows.

        Args:
            n: Number of choices.
            rng: Random generator.
            alive: `(candidates,)` which candidates may be chosen. All may by default.

        Returns:
            `(n,)` choices.

        Raises:
            SpaceError: Fewer candidates than the minimum number of branches are alive.
        """
        left = np.arange(len(self.candidates)) if alive is None else np.flatnonzero(alive)
        if len(left) < self.min_branches:
            raise SpaceError(
                f"layer {self.name}: at least {self.min_branches} of {len(self.candidates)} candidates must be left, "
                f"got {len(left)}"
            )
        if self.join == "single":
            return left[rng.integers(0, len(left), n)]
        sizes = np.arange(self.min_branches, min(self.max_branches, len(left)) + 1)
        weights = np.array([math.comb(len(left), int(k)) for k in sizes], dtype=float)
        branches = rng.choice(sizes, n, p=weights / weights.sum())
        # The first k entries of a random permutation are a uniformly drawn subset of size k.
        order = rng.random((n, len(left))).argsort(axis=1)
        bits = np.left_shift(np.int64(1), left[order])
        choices: npt.NDArray[np.int64] = np.where(np.arange(len(left)) < branches[:, None], bits, 0).sum(
            axis=1
        )
        return choices

    def chosen(self, choice: int) -> tuple[int, ...]:
        """Return the indices of the candidates that a choice selects, in ascending order."""
        if self.join == "single":
            return (choice,)
        return tuple(i for i in range(len(self.candidates)) if choice >> i & 1)

    def problem(self, choice: int) -> str | None:
        """Return the rule of this layer that a choice breaks, or None if it breaks none."""
        n = len(self.candidates)
        if self.join == "single":
            return None if 0 <= choice < n else f"a choice must be in 0..{n - 1}, got {choice}"
        if not 0 <= choice < 1 << n:
            return f"a bit set must be in 0..{(1 << n) - 1}, got {choice}"
        branches = choice.bit_count()
        if not self.min_branches <= branches <= self.max_branches:
            return f"{self.min_branches}..{self.max_branches} branches are allowed, got {branches}"
        return None

    def operator(self, choice: int) -> Operator:
        """Return the operator of a choice; the branches of a multi-branch layer become one (NSE, Eq. 1)."""
        indices = self.chosen(choice)
        if self.join == "single":
            return self.candidates[indices[0]]
        return join_branches(tuple(self.candidates[i] for i in indices), self.input, self.join == "normal")


Block = FixedBlock | Layer


def to_block(description: object) -> Block:
    """Return a block as it is, and a `(name, operator)` pair as a `FixedBlock`.

    Raises:
        SpaceError: `description` is neither.
    """
    match description:
        case FixedBlock() | Layer():
            return description
        case (str(name), Operator() as operator):
            return FixedBlock(name, operator)
        case _:
            raise SpaceError(
                "a block is a FixedBlock, a Layer, or a pair of a name and an operator, "
                f"got {type(description).__name__}: {description!r:.200}"
            )


@dataclass(frozen=True)
class Placement:
    """An operator and where it stands in a network.

    Attributes:
        operator: The operator.
        first: Whether the operator begins the network.
        last: Whether the operator ends the network.
    """

    operator: Operator
    first: bool
    last: bool

    @property
    def key(self) -> tuple[str, bool, bool]:
        """The program, `first`, and `last`: placements with the same key have the same cost."""
        return self.operator.program.canonical, self.first, self.last


def placements_of(blocks: Sequence[Block]) -> tuple[tuple[Placement, ...], ...]:
    """Return, for every block of a whole space or network, the placements of its operators."""
    end = len(blocks) - 1
    return tuple(
        tuple(Placement(operator, position == 0, position == end) for operator in block.operators)
        for position, block in enumerate(blocks)
    )


def join_branches(branches: tuple[Operator, ...], shape: Shape, with_input: bool) -> Operator:
    """Combine parallel branches into one operator that computes their mean (NSE, Eq. 1).

    Args:
        branches: Operators that all take `shape` and all give the same shape. Without any, the operator is the
            identity.
        shape: Shape of the input.
        with_input: Whether the input is averaged as well.
    """
    builder = Builder(shape)
    x = Value(builder, 0)
    values = [Value(builder, builder.embed(branch.program, 0)) for branch in branches]
    if with_input and values:
        values.append(x)
    result = gain(add(*values), 1 / len(values)) if values else x
    name = " + ".join(branch.short for branch in branches) or "skip"
    return Operator(f"branches({name})", (), builder.build(result.index))
