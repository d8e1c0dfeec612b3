"""Search spaces: fixed blocks and layers with candidates; architectures as rows of small integers.

In a single-path layer a code is the index of the chosen candidate. In a multi-branch layer it is a bit
set: bit i says whether candidate i is one of the branches.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import ArchitectureError, SpaceError
from nascli.spaces.blocks import Block, FixedBlock, Layer, Placement, placements_of, to_block
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape

Population = npt.NDArray[np.integer[Any]]
Parameter = int | float | str | bool


@dataclass(frozen=True)
class Space:
    """What can be searched: fixed operators and layers, in evaluation order.

    Attributes:
        name: the registered name.
        parameters: what the space was made with; name and parameters make it again.
        blocks: Fixed blocks and layers in evaluation order. A `(name, operator)` pair becomes a `FixedBlock`.
    """

    name: str
    parameters: tuple[tuple[str, Parameter], ...]
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "blocks", tuple(to_block(block) for block in self.blocks))
        except SpaceError as error:
            raise SpaceError(f"space {self.name}: {error.message}") from error
        for before, after in itertools.pairwise(self.blocks):
            if before.output != after.input:
                raise SpaceError(
                    f"space {self.name}: {before.name} gives {before.output}, but {after.name} takes {after.input}"
                )
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
    def low_bit(self) -> bool:
        """Whether it has convolutions at few bits, which no runtime here computes."""
        return any(operator.program.low_bit for operator in self.operators())

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
            choice = f" {block.join} {block.max_branches}" if isinstance(block, Layer) else ""
            state.update(f"{block.name}{choice}\n".encode())
            for operator in block.operators:
                state.update(operator.program.canonical.encode() + b"\n")
        return state.hexdigest()[:32]

    @property
    def input(self) -> Shape:
        """Shape of one input sample."""
        return self.blocks[0].input

    @property
    def output(self) -> Shape:
        """Shape of the output: (classes, 1, 1) for a classifier."""
        return self.blocks[-1].output

    @property
    def size(self) -> int:
        """Number of architectures, exactly."""
        return math.prod(layer.size for layer in self.layers)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The integer type of codes: int16 for candidates' indices, int64 for bit sets."""
        return np.dtype(np.int64 if self.multi_branch else np.int16)

    @cached_property
    def fixed(self) -> tuple[FixedBlock, ...]:
        """The blocks without a choice."""
        return tuple(block for block in self.blocks if isinstance(block, FixedBlock))

    def operators(self) -> list[Operator]:
        """Every distinct operator of the space, fixed ones first, each program once."""
        distinct: dict[str, Operator] = {}
        blocks: tuple[Block, ...] = (*self.fixed, *self.layers)
        for block in blocks:
            for operator in block.operators:
                distinct.setdefault(operator.program.canonical, operator)
        return list(distinct.values())

    @cached_property
    def placements(self) -> tuple[tuple[Placement, ...], ...]:
        """For every block, the placements of its operators."""
        return placements_of(self.blocks)

    def distinct_placements(self) -> list[Placement]:
        """Every distinct operator of the space with where it stands, each once."""
        distinct: dict[tuple[str, bool, bool], Placement] = {}
        for placement in itertools.chain.from_iterable(self.placements):
            distinct.setdefault(placement.key, placement)
        return list(distinct.values())

    def check(self, codes: npt.ArrayLike) -> Population:
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

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """`(n, layers)` architectures, uniform over the whole space."""
        columns = [layer.sample(n, rng) for layer in self.layers]
        return np.stack(columns, axis=1).astype(self.dtype)

    def network(self, code: Sequence[int] | Population, name: str | None = None) -> Network:
        """The network of one architecture.

        Raises:
            ArchitectureError: when the code does not belong to the space.
        """
        row = self.check(code)
        if len(row) != 1:
            raise ArchitectureError(f"one architecture at a time, got {len(row)}")
        choices = iter(int(c) for c in row[0])
        blocks = tuple(
            FixedBlock(block.name, block.operator(next(choices))) if isinstance(block, Layer) else block
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
