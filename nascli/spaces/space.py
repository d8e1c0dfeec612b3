"""Search spaces: sequences of fixed blocks and layers. Architectures of a space are rows of small integers.

The vocabulary of all modules: a *choice* is the entry of one layer (see `Layer`), an *architecture* is one row of
choices, and a *population* is an `(n, layers)` array of architectures.
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
    """A search space whose architectures choose one entry per layer.

    Attributes:
        name: Name under which the space is registered.
        parameters: Name and value of every parameter that is not at its default. The space can be made again from
            its name and its parameters.
        blocks: Fixed blocks and layers in evaluation order. A `(name, operator)` pair becomes a `FixedBlock`.

    Raises:
        SpaceError: An entry of `blocks` is no block, shapes of neighbours differ, there is no layer, or single-path
            and multi-branch layers are mixed.
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
        """The blocks with a choice."""
        return tuple(block for block in self.blocks if isinstance(block, Layer))

    @cached_property
    def fixed(self) -> tuple[FixedBlock, ...]:
        """The blocks without a choice."""
        return tuple(block for block in self.blocks if isinstance(block, FixedBlock))

    @property
    def multi_branch(self) -> bool:
        """Whether choices are bit sets."""
        return self.layers[0].join != "single"

    @cached_property
    def low_bit(self) -> bool:
        """Whether an operator has convolutions below 32 bits, which no runtime here computes."""
        return any(operator.program.low_bit for operator in self.operators())

    @property
    def spec(self) -> str:
        """The text from which `load_space` makes this space again, such as ``proxyless:resolution=160``."""
        parameters = ",".join(f"{k}={v}" for k, v in self.parameters)
        return f"{self.name}:{parameters}" if parameters else self.name

    @cached_property
    def digest(self) -> str:
        """Digest of all programs in their order; spaces with the same digest have the same architectures."""
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
        """Shape of the output, which is (classes, 1, 1) for a classifier."""
        return self.blocks[-1].output

    @property
    def size(self) -> int:
        """Number of architectures, exactly."""
        return math.prod(layer.size for layer in self.layers)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Integer type of populations: int16 for single-path spaces, int64 for bit sets."""
        return np.dtype(np.int64 if self.multi_branch else np.int16)

    def operators(self) -> list[Operator]:
        """Return every distinct operator of the space, those of fixed blocks first."""
        blocks: tuple[Block, ...] = (*self.fixed, *self.layers)
        distinct: dict[str, Operator] = {}
        for block in blocks:
            for operator in block.operators:
                distinct.setdefault(operator.program.canonical, operator)
        return list(distinct.values())

    @cached_property
    def placements(self) -> tuple[tuple[Placement, ...], ...]:
        """For every block, the placements of its operators."""
        return placements_of(self.blocks)

    def distinct_placements(self) -> list[Placement]:
        """Return the placements of all blocks, each distinct one once."""
        distinct: dict[tuple[str, bool, bool], Placement] = {}
        for placement in itertools.chain.from_iterable(self.placements):
            distinct.setdefault(placement.key, placement)
        return list(distinct.values())

    def check(self, population: npt.ArrayLike) -> Population:
        """Return a population as an array, after checking that it belongs to this space.

        Args:
            population: `(n, layers)` integers, or one architecture `(layers,)`.

        Returns:
            `(n, layers)` array of the space's integer type.

        Raises:
            ArchitectureError: The shape or the type is wrong, or a choice breaks a rule of its layer. The message
                names the layer, the rule, and the value.
        """
        array = np.atleast_2d(np.asarray(population))
        if array.dtype.kind not in "iu":
            raise ArchitectureError(f"space {self.name}: choices are integers, got {array.dtype}")
        if array.ndim != 2 or array.shape[1] != len(self.layers):
            raise ArchitectureError(
                f"space {self.name}: an architecture has {len(self.layers)} choices, "
                f"got shape {tuple(array.shape)}"
            )
        for index, layer in enumerate(self.layers):
            column = array[:, index]
            for choice in np.unique(column) if len(column) > 1 else column:
                problem = layer.problem(int(choice))
                if problem is not None:
                    raise ArchitectureError(f"space {self.name}, layer {layer.name} ({index}): {problem}")
        return array.astype(self.dtype)

    def sample(self, n: int, rng: np.random.Generator) -> Population:
        """Draw `(n, layers)` architectures uniformly from the whole space."""
        columns = [layer.sample(n, rng) for layer in self.layers]
        return np.stack(columns, axis=1).astype(self.dtype)

    def network(self, architecture: Sequence[int] | Population, name: str | None = None) -> Network:
        """Return the network of one architecture.

        Args:
            architecture: `(layers,)` choices.
            name: Name of the network; by default the name of the space.

        Raises:
            ArchitectureError: The architecture does not belong to the space, or there are several.
        """
        population = self.check(architecture)
        if len(population) != 1:
            raise ArchitectureError(f"one architecture at a time, got {len(population)}")
        choices = iter(int(choice) for choice in population[0])
        blocks = tuple(
            FixedBlock(block.name, block.operator(next(choices))) if isinstance(block, Layer) else block
            for block in self.blocks
        )
        return Network(name or self.name, blocks)

    def restricted(self, name: str, subsets: Sequence[Sequence[int]]) -> Space:
        """Return a space with fewer candidates.

        Args:
            name: Name of the new space.
            subsets: For each layer, the indices of the candidates that remain, in their new order.

        Raises:
            SpaceError: The number of subsets is not the number of layers, or a subset is empty.
        """
        if len(subsets) != len(self.layers):
            raise SpaceError(f"space {self.name}: {len(self.layers)} layers, got {len(subsets)} subsets")
        remaining = iter(subsets)
        blocks = tuple(
            replace(block, candidates=tuple(block.candidates[i] for i in next(remaining)))
            if isinstance(block, Layer)
            else block
            for block in self.blocks
        )
        return replace(self, name=name, blocks=blocks)
