"""Networks: sequences of fixed blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

from nascli.errors import SpaceError
from nascli.spaces.blocks import FixedBlock, Placement, placements_of, to_block
from nascli.spaces.counts import Counts, count, total
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program, chain


@dataclass(frozen=True)
class Network:
    """A network whose blocks are evaluated one after the other.

    Attributes:
        name: Name of the network.
        blocks: The blocks in evaluation order. A `(name, operator)` pair becomes a `FixedBlock`.

    Raises:
        SpaceError: There is no block, a block still has a choice, or shapes of neighbours differ.
    """

    name: str
    blocks: tuple[FixedBlock, ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise SpaceError(f"network {self.name}: needs at least one block")
        blocks = [to_block(block) for block in self.blocks]
        for block in blocks:
            if not isinstance(block, FixedBlock):
                raise SpaceError(f"network {self.name}: layer {block.name} still has a choice")
        object.__setattr__(self, "blocks", tuple(blocks))
        for before, after in itertools.pairwise(self.blocks):
            if before.output != after.input:
                raise SpaceError(
                    f"network {self.name}: {before.name} gives {before.output}, "
                    f"but {after.name} takes {after.input}"
                )

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators in evaluation order."""
        return tuple(block.operator for block in self.blocks)

    @property
    def placements(self) -> tuple[Placement, ...]:
        """The operators in evaluation order, with where each stands."""
        return tuple(itertools.chain.from_iterable(placements_of(self.blocks)))

    @property
    def input(self) -> Shape:
        """Shape of one input sample."""
        return self.blocks[0].input

    @property
    def output(self) -> Shape:
        """Shape of the output, which is (classes, 1, 1) for a classifier."""
        return self.blocks[-1].output

    @cached_property
    def program(self) -> Program:
        """The whole network as one program."""
        return chain([operator.program for operator in self.operators])

    @cached_property
    def counts(self) -> Counts:
        """Counts of the whole network for one sample."""
        return total(count(operator.program) for operator in self.operators)
