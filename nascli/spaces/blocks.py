"""Blocks, of which spaces and networks are sequences: fixed blocks, and layers that choose between candidates."""

from __future__ import annotations

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
        """Shape that the block takes."""
        return self.operator.input

    @property
    def output(self) -> Shape:
        """Shape that the block gives."""
        return self.operator.output

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The one operator of the block."""
        return (self.operator,)


@dataclass(frozen=True)
class Layer:
    """One place of choice.

    Attributes:
        name: what people call it.
        candidates: operators of one input and one output shape.
        join: 'single' takes exactly one candidate. 'normal' averages the chosen branches and the input,
            and may be empty; 'reduction' averages the chosen branches and is never empty (NSE, Eq. 1).
        max_branches: the largest number of branches of a multi-branch layer.
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
        """Shape that every candidate takes."""
        return self.candidates[0].input

    @property
    def output(self) -> Shape:
        """Shape that every candidate gives."""
        return self.candidates[0].output

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The candidates, under the name that fixed blocks have for their operator."""
        return self.candidates

    @property
    def min_branches(self) -> int:
        """The smallest number of branches: a normal layer may be skipped."""
        return 0 if self.join == "normal" else 1

    @property
    def size(self) -> int:
        """Number of different choices, exactly."""
        n = len(self.candidates)
        if self.join == "single":
            return n
        return sum(math.comb(n, k) for k in range(self.min_branches, min(self.max_branches, n) + 1))

    def sample(
        self, n: int, rng: np.random.Generator, alive: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.int64]:
        """`(n,)` codes, uniform over what the layer allows.

        Args:
            n: how many.
            rng: the source of randomness.
            alive: `(candidates,)` which candidates may be chosen; by default all.

        Raises:
            SpaceError: too few candidates are left to choose from.
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
        # The first k of a random permutation are a uniform k-subset.
        order = rng.random((n, len(left))).argsort(axis=1)
        bits = np.left_shift(np.int64(1), left[order])
        chosen: npt.NDArray[np.int64] = np.where(np.arange(len(left)) < branches[:, None], bits, 0).sum(
            axis=1
        )
        return chosen

    def chosen(self, code: int) -> tuple[int, ...]:
        """Indices of the candidates that a code selects."""
        if self.join == "single":
            return (code,)
        return tuple(i for i in range(len(self.candidates)) if code >> i & 1)

    def problem(self, code: int) -> str | None:
        """Which rule a code breaks in this layer, or None."""
        n = len(self.candidates)
        if self.join == "single":
            return None if 0 <= code < n else f"a code must be in 0..{n - 1}, got {code}"
        if not 0 <= code < 1 << n:
            return f"a bit set must be in 0..{(1 << n) - 1}, got {code}"
        branches = code.bit_count()
        if not self.min_branches <= branches <= self.max_branches:
            return f"{self.min_branches}..{self.max_branches} branches are allowed, got {branches}"
        return None

    def operator(self, code: int) -> Operator:
        """The operator that a code stands for; branches are joined into one (NSE, Eq. 1)."""
        indices = self.chosen(code)
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
        """What two placements have in common if they are measured alike: the program, `first`, and `last`."""
        return self.operator.program.canonical, self.first, self.last


def placements_of(blocks: Sequence[Block]) -> tuple[tuple[Placement, ...], ...]:
    """Return the placements of every block's operators, for a whole sequence of blocks."""
    end = len(blocks) - 1
    return tuple(
        tuple(Placement(operator, position == 0, position == end) for operator in block.operators)
        for position, block in enumerate(blocks)
    )


def join_branches(branches: tuple[Operator, ...], shape: Shape, with_input: bool) -> Operator:
    """Parallel branches as one operator: their mean, the input among them if so wished (NSE, Eq. 1)."""
    builder = Builder(shape)
    x = Value(builder, 0)
    values = [Value(builder, builder.embed(branch.program, 0)) for branch in branches]
    if with_input and values:
        values.append(x)
    result = gain(add(*values), 1 / len(values)) if values else x
    name = " + ".join(branch.short for branch in branches) or "skip"
    return Operator(f"branches({name})", (), builder.build(result.index))
