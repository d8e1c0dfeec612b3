"""The latency of an operator inside a network, derived from models that are measured alone.

An operator that is measured alone pays for converting its input to the runtime's layout and its output back; inside a
network its neighbours share the layout. So each operator is also timed between two pointwise convolutions, in its
carrier, and half of what a pair of such convolutions costs is subtracted for either side:

    in context(op) = T(pw - op - pw) - T(pw - pw at its input) / 2 - T(pw - pw at its output) / 2

The cost of entering and leaving a model cancels to first order. An operator at the start of a network has no
convolution before it, and one at the end has none after it. Either keeps half of the cost of entry or exit, which adds
up to exactly one over a network. Carriers and references are ordinary programs in the store, and all operators of one
shape share them.
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
    """Return the reference of a shape: two pointwise convolutions."""
    return Operator(f"reference {shape}", (), chain([_pointwise(shape), _pointwise(shape)]))


@dataclass(frozen=True)
class Carrier:
    """An operator between pointwise convolutions.

    Attributes:
        operator: The whole chain, which is measured.
        references: The references of which half of the latency each is subtracted.
    """

    operator: Operator
    references: tuple[Operator, ...]


def carry(operator: Operator, *, first: bool = False, last: bool = False) -> Carrier:
    """Return the carrier of an operator.

    Args:
        operator: The operator.
        first: Whether it begins the network, so that no convolution precedes it.
        last: Whether it ends the network, so that no convolution follows it.
    """
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
    """Return all distinct models whose latencies `in_context` needs.

    Args:
        placements: Operators and where they stand in their networks.
    """
    models: dict[str, Operator] = {}
    for placement in placements:
        operator = placement.operator
        if operator.program.output == 0:
            continue
        piece = carry(operator, first=placement.first, last=placement.last)
        for part in (operator, piece.operator, *piece.references):
            models.setdefault(part.program.canonical, part)
    return list(models.values())


def is_auxiliary(label: str) -> bool:
    """Return whether the label of a row belongs to a carrier or a reference, and not to an operator of a space."""
    return label.startswith(("carrier of ", "reference "))


def require_context(table: LatencyTable, placements: Iterable[Placement], command: str) -> list[Measurement]:
    """Return the latencies of operators inside a network.

    Args:
        table: The table that they are derived from.
        placements: Operators and where they stand in the network.
        command: The command that measures what is missing, for the error.

    Raises:
        MissingMeasurementsError: The table lacks operators; the error names them.
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
    """Return the latency of an operator inside a network; None if the table lacks one of its models.

    The interval adds up the variances of the models. A difference below zero, which the noise of the subtraction may
    cause, becomes zero.

    Args:
        table: The table that has the carrier and the references.
        operator: The operator.
        first: Whether it begins the network.
        last: Whether it ends the network.
    """
    if operator.program.output == 0:
        return NOTHING
    if table.imported:
        # Tables of other tools have no carriers; their figures are taken as they are.
        return table.lookup(operator.program)
    piece = carry(operator, first=first, last=last)
    whole = table.lookup(piece.operator.program)
    halves = [half for part in piece.references if (half := table.lookup(part.program)) is not None]
    if whole is None or len(halves) < len(piece.references):
        return None
    seconds = whole.seconds - sum(half.seconds for half in halves) / 2
    parts = [(whole, 1.0), *((half, 0.5) for half in halves)]
    half_width = float(np.sqrt(sum(((m.high - m.low) / 2 * weight) ** 2 for m, weight in parts)))
    rounds = min(m.rounds for m, _ in parts)
    seconds = max(0.0, seconds)
    return Measurement(seconds, max(0.0, seconds - half_width), seconds + half_width, rounds, "in context")
