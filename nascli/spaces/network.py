"""A whole network: named blocks in sequence."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from nascli.errors import SpaceError
from nascli.spaces.counts import Counts, count, total
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program, chain


@dataclass(frozen=True)
class Network:
    """A chain of operators, each feeding the next.

    Attributes:
        name: what people call it.
        blocks: (name, operator) in evaluation order.
    """

    name: str
    blocks: tuple[tuple[str, Operator], ...]

    def __post_init__(self) -> None:
        if not self.blocks:
            raise SpaceError(f"network {self.name}: needs at least one block")
        for (before, a), (after, b) in zip(self.blocks, self.blocks[1:], strict=False):
            if a.output != b.input:
                raise SpaceError(
                    f"network {self.name}: {before} gives {a.output}, but {after} takes {b.input}"
                )

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators in evaluation order."""
        return tuple(operator for _, operator in self.blocks)

    @property
    def placed(self) -> list[tuple[Operator, bool, bool]]:
        """The operators in evaluation order, with whether each begins and whether it ends the network."""
        end = len(self.blocks) - 1
        return [(operator, i == 0, i == end) for i, operator in enumerate(self.operators)]

    @property
    def input(self) -> Shape:
        """Shape of one input sample."""
        return self.blocks[0][1].input

    @property
    def output(self) -> Shape:
        """Shape of the output: (classes, 1, 1) for a classifier."""
        return self.blocks[-1][1].output

    @cached_property
    def program(self) -> Program:
        """The whole network as one program."""
        return chain([operator.program for operator in self.operators])

    @cached_property
    def counts(self) -> Counts:
        """Counts of the whole network for one sample."""
        return total(count(operator.program) for operator in self.operators)
