"""Search spaces: fixed blocks and layers with candidates; architectures as rows of small integers.

In a single-path layer a code is the index of the chosen candidate. In a multi-branch layer it is a bit
set: bit i says whether candidate i is one of the branches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nascli.errors import ArchitectureError, SpaceError
from nascli.spaces.network import Network
from nascli.spaces.operators import Operator, Value, add, gain
from nascli.spaces.primitives import Builder, Shape

Codes = npt.NDArray[np.integer[Any]]
Join = Literal["single", "normal", "reduction"]
Parameter = int | float | str | bool
MAX_BRANCH_CANDIDATES = 62


@dataclass(frozen=True)
class Layer:
    """One place of choice.

    Attributes:
        name: what people call it.
        candidates: operators of one input and one output shape.
        join: 'single' takes exactly one candidate. 'normal' averages the chosen branches and the input,
            and may be empty; 'reduction' averages the chosen branches and is never empty (NSE, Eq. 1).
        most: the largest number of branches of a multi-branch layer.
    """

    name: str
    candidates: tuple[Operator, ...]
    join: Join = "single"
    most: int = 1

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
        if self.most < 1:
            raise SpaceError(f"layer {self.name}: most must be at least 1, got {self.most}")
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
    def least(self) -> int:
        """The smallest number of branches: a normal layer may be skipped."""
        return 0 if self.join == "normal" else 1

    @property
    def size(self) -> int:
        """Number of different choices, exactly."""
        n = len(self.candidates)
        if self.join == "single":
            return n
        return sum(math.comb(n, k) for k in range(self.least, min(self.most, n) + 1))

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
        if len(left) < self.least:
            raise SpaceError(
                f"layer {self.name}: at least {self.least} of {len(self.candidates)} candidates must be left, "
                f"got {len(left)}"
            )
        if self.join == "single":
            return left[rng.integers(0, len(left), n)]
        sizes = np.arange(self.least, min(self.most, len(left)) + 1)
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
        if not self.least <= branches <= self.most:
            return f"{self.least}..{self.most} branches are allowed, got {branches}"
        return None

    def operator(self, code: int) -> Operator:
        """The operator that a code stands for; branches are joined into one (NSE, Eq. 1)."""
        indices = self.chosen(code)
        if self.join == "single":
            return self.candidates[indices[0]]
        return joined(tuple(self.candidates[i] for i in indices), self.input, self.join == "normal")


def joined(branches: tuple[Operator, ...], shape: Shape, with_input: bool) -> Operator:
    """Parallel branches as one operator: their mean, the input among them if so wished (NSE, Eq. 1)."""
    builder = Builder(shape)
    x = Value(builder, 0)
    values = [Value(builder, builder.embed(branch.program, 0)) for branch in branches]
    if with_input and values:
        values.append(x)
    result = gain(add(*values), 1 / len(values)) if values else x
    name = " + ".join(branch.short for branch in branches) or "skip"
    return Operator(f"branches({name})", (), builder.build(result.index))


@dataclass(frozen=True)
class Space:
    """What can be searched: fixed operators and layers, in evaluation order.

    Attributes:
        name: the registered name.
        parameters: what the space was made with; name and parameters make it again.
        blocks: (name, operator) pairs and layers in evaluation order.
    """

    name: str
    parameters: tuple[tuple[str, Parameter], ...]
    blocks: tuple[tuple[str, Operator] | Layer, ...]

    def __post_init__(self) -> None:
        shape: Shape | None = None
        previous = ""
        for block in self.blocks:
            name, piece = (block.name, block) if isinstance(block, Layer) else block
            if shape is not None and piece.input != shape:
                raise SpaceError(
                    f"space {self.name}: {previous} gives {shape}, but {name} takes {piece.input}"
                )
            shape, previous = piece.output, name
        if not self.layers:
            raise SpaceError(f"space {self.name}: needs at least one layer to search")
        kinds = {layer.join == "single" for layer in self.layers}
        if len(kinds) > 1:
            raise SpaceError(f"space {self.name}: layers are all single-path or all multi-branch")

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The places of choice."""
        return tuple(block for block in self.blocks if isinstance(block, Layer))

    @property
    def multi_branch(self) -> bool:
        """Whether codes are bit sets."""
        return self.layers[0].join != "single"

    @cached_property
    def few_bits(self) -> bool:
        """Whether it has convolutions at few bits, which no runtime here computes."""
        return any(operator.program.few_bits for operator in self.operators())

    @property
    def spec(self) -> str:
        """The text that makes this space again: ``proxyless:resolution=160``."""
        shown = ",".join(f"{k}={v}" for k, v in self.parameters)
        return f"{self.name}:{shown}" if shown else self.name

    @cached_property
    def digest(self) -> str:
        """A digest of every program in its place: two spaces that differ in anything differ in it."""
        state = hashlib.sha256()
        for block in self.blocks:
            if isinstance(block, Layer):
                state.update(f"{block.name} {block.join} {block.most}\n".encode())
                operators = block.candidates
            else:
                state.update(f"{block[0]}\n".encode())
                operators = (block[1],)
            for operator in operators:
                state.update(operator.program.canonical.encode() + b"\n")
        return state.hexdigest()[:32]

    @property
    def input(self) -> Shape:
        """Shape of one input sample."""
        first = self.blocks[0]
        return first.input if isinstance(first, Layer) else first[1].input

    @property
    def output(self) -> Shape:
        """Shape of the output: (classes, 1, 1) for a classifier."""
        last = self.blocks[-1]
        return last.output if isinstance(last, Layer) else last[1].output

    @property
    def size(self) -> int:
        """Number of architectures, exactly."""
        return math.prod(layer.size for layer in self.layers)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The integer type of codes: int16 for candidates' indices, int64 for bit sets."""
        return np.dtype(np.int64 if self.multi_branch else np.int16)

    @cached_property
    def fixed(self) -> tuple[tuple[str, Operator], ...]:
        """The blocks without a choice."""
        return tuple(block for block in self.blocks if not isinstance(block, Layer))

    def operators(self) -> list[Operator]:
        """Every distinct operator of the space, fixed ones first, each program once."""
        found: dict[str, Operator] = {}
        for _, operator in self.fixed:
            found.setdefault(operator.program.canonical, operator)
        for layer in self.layers:
            for candidate in layer.candidates:
                found.setdefault(candidate.program.canonical, candidate)
        return list(found.values())

    def placed(self) -> list[tuple[Operator, bool, bool]]:
        """Every distinct operator, with whether it begins and whether it ends a network."""
        found: dict[tuple[str, bool, bool], tuple[Operator, bool, bool]] = {}
        for position, block in enumerate(self.blocks):
            first, last = position == 0, position == len(self.blocks) - 1
            for operator in block.candidates if isinstance(block, Layer) else (block[1],):
                found.setdefault((operator.program.canonical, first, last), (operator, first, last))
        return list(found.values())

    def check(self, codes: npt.ArrayLike) -> Codes:
        """Codes as a `(n, layers)` array of the space's integer type.

        Raises:
            ArchitectureError: naming the layer, the rule and the value.
        """
        array = np.atleast_2d(np.asarray(codes))
        if array.dtype.kind not in "iu":
            raise ArchitectureError(f"space {self.name}: codes are integers, got {array.dtype}")
        if array.ndim != 2 or array.shape[1] != len(self.layers):
            raise ArchitectureError(
                f"space {self.name}: an architecture has {len(self.layers)} codes, "
                f"got shape {tuple(array.shape)}"
            )
        for index, layer in enumerate(self.layers):
            column = array[:, index]
            for value in np.unique(column) if len(column) > 1 else column:
                problem = layer.problem(int(value))
                if problem is not None:
                    raise ArchitectureError(f"space {self.name}, layer {layer.name} ({index}): {problem}")
        return array.astype(self.dtype)

    def sample(self, n: int, rng: np.random.Generator) -> Codes:
        """`(n, layers)` architectures, uniform over the whole space."""
        columns = [layer.sample(n, rng) for layer in self.layers]
        return np.stack(columns, axis=1).astype(self.dtype)

    def network(self, code: Sequence[int] | Codes, name: str | None = None) -> Network:
        """The network of one architecture.

        Raises:
            ArchitectureError: when the code does not belong to the space.
        """
        row = self.check(code)
        if len(row) != 1:
            raise ArchitectureError(f"one architecture at a time, got {len(row)}")
        choices = iter(int(c) for c in row[0])
        blocks = tuple(
            (block.name, block.operator(next(choices))) if isinstance(block, Layer) else block
            for block in self.blocks
        )
        return Network(name or self.name, blocks)

    def restricted(self, name: str, kept: Sequence[Sequence[int]]) -> Space:
        """The same space with only some candidates kept in each layer."""
        if len(kept) != len(self.layers):
            raise SpaceError(f"space {self.name}: {len(self.layers)} layers, got {len(kept)} subsets")
        subsets = iter(kept)
        blocks = tuple(
            replace(block, candidates=tuple(block.candidates[i] for i in next(subsets)))
            if isinstance(block, Layer)
            else block
            for block in self.blocks
        )
        return replace(self, name=name, blocks=blocks)
