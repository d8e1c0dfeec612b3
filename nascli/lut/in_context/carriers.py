"""What an operator costs inside a network, from three models measured alone.

Alone, an operator pays for bringing its input into the runtime's layout and its output back; inside a
network its neighbours share the layout. So each operator is also timed between two pointwise convolutions,
its carrier, and half of what a pair of such convolutions costs is taken off for either side:

    in context(op) = T(pw - op - pw) - T(pw - pw at its input) / 2 - T(pw - pw at its output) / 2

The cost of entering and leaving a model cancels to first order. An operator at the start of a network has no
convolution before it, one at the end none after it, and keeps half of the entry or exit: over a network these
add up to exactly one. Carriers and references are ordinary programs in the store, shared by all operators of
a shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from nascli.errors import MissingMeasurementsError
from nascli.lut.statistics import NOTHING, Measurement
from nascli.lut.table import LatencyTable
from nascli.spaces.blocks import Placement
from nascli.spaces.operators.basic import conv_block
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program, chain


@lru_cache(maxsize=4096)
def _pointwise(shape: Shape) -> Program:
    return conv_block(shape, shape.channels, kernel=1, act="none").program


@lru_cache(maxsize=4096)
def reference(shape: Shape) -> Operator:
    """Two pointwise convolutions at a shape."""
    return Operator(f"reference {shape}", (), chain([_pointwise(shape), _pointwise(shape)]))


@dataclass(frozen=True)
class Carrier:
    """An operator between its neighbours.

    Attributes:
        operator: the whole chain, to be measured.
        references: the pairs of pointwise convolutions of which a half each is taken off.
    """

    operator: Operator
    references: tuple[Operator, ...]


def carry(operator: Operator, *, first: bool = False, last: bool = False) -> Carrier:
    """The carrier of an operator; `first` and `last` say that it begins or ends a network."""
    pieces = [operator.program]
    references = []
    if not first:
        pieces.insert(0, _pointwise(operator.input))
        references.append(reference(operator.input))
    if not last:
        pieces.append(_pointwise(operator.output))
        references.append(reference(operator.output))
    return Carrier(Operator(f"carrier of {operator.short}", (), chain(pieces)), tuple(references))


def subjects_in_context(placements: Iterable[Placement]) -> list[Operator]:
    """Everything to measure so that operators have a figure in context."""
    found: dict[str, Operator] = {}
    for placement in placements:
        operator = placement.operator
        if operator.program.output == 0:
            continue
        piece = carry(operator, first=placement.first, last=placement.last)
        for part in (operator, piece.operator, *piece.references):
            found.setdefault(part.program.canonical, part)
    return list(found.values())


def is_auxiliary(label: str) -> bool:
    """Whether a row of the store is a carrier or a reference, not an operator of its own."""
    return label.startswith(("carrier of ", "reference "))


def require_context(table: LatencyTable, placements: Iterable[Placement], command: str) -> list[Measurement]:
    """The figures in context of operators, each with whether it begins or ends a network.

    Raises:
        MissingMeasurementsError: naming the operators without one, and the command that measures them.
    """
    wanted = list(placements)
    figures, missing = [], []
    for placement in wanted:
        figure = in_context(table, placement.operator, first=placement.first, last=placement.last)
        if figure is None:
            missing.append(placement.operator.label)
        else:
            figures.append(figure)
    if missing:
        raise MissingMeasurementsError(list(dict.fromkeys(missing)), len(wanted), table.setup.label, command)
    return figures


def in_context(
    table: LatencyTable, operator: Operator, *, first: bool = False, last: bool = False
) -> Measurement | None:
    """The figure of an operator inside a network; None if a part of it was never measured.

    The interval adds up the variances of the parts. What is faster in a network than nothing at all, by
    the noise of the subtraction, costs nothing.
    """
    if operator.program.output == 0:
        return NOTHING
    if table.imported:
        # Another tool's rows have no carriers; they stand for themselves.
        return table.lookup(operator.program)
    piece = carry(operator, first=first, last=last)
    whole = table.lookup(piece.operator.program)
    halves = [half for part in piece.references if (half := table.lookup(part.program)) is not None]
    if whole is None or len(halves) < len(piece.references):
        return None
    seconds = whole.seconds - sum(half.seconds for half in halves) / 2
    parts = [(whole, 1.0), *((half, 0.5) for half in halves)]
    half_width = float(np.sqrt(sum(((e.high - e.low) / 2 * weight) ** 2 for e, weight in parts)))
    rounds = min(e.rounds for e, _ in parts)
    seconds = max(0.0, seconds)
    return Measurement(seconds, max(0.0, seconds - half_width), seconds + half_width, rounds, "in context")
