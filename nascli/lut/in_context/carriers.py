"""The latency of an operator inside a network, derived from models that are measured alone.

An operator that is measured alone pays for converting its input to the runtime's layout and its output back; inside a
network its neighbours share the layout. So each operator is also timed between two pointwise convolutions, in its
carrier, and half of what a pair of such convolutions costs is subtracted for either side (between values that are no
images stand other neighbours, see `nascli.lut.in_context.neighbours`):

    in context(op) = T(pw - op - pw) - T(pw - pw at its input) / 2 - T(pw - pw at its output) / 2

The cost of entering and leaving a model cancels to first order. An operator at the start of a network has no
convolution before it, and one at the end has none after it. Either keeps half of the cost of entry or exit, which adds
up to exactly one over a network. Carriers and references are ordinary programs in the store, and all operators of one
shape share them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np

from nascli.errors import MissingMeasurementsError
from nascli.lut.in_context.cold_weights import cold_matters, is_cold, with_cold_weights
from nascli.lut.in_context.neighbours import neighbour_before, neighbour_behind, pointwise
from nascli.lut.statistics import NOTHING, Measurement
from nascli.lut.table import LatencyTable
from nascli.spaces.blocks import Placement
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program, chain


def reference(shape: Shape) -> Operator:
    """Return the reference of a shape: two pointwise convolutions."""
    return twice(pointwise(shape))


@lru_cache(maxsize=4096)
def twice(neighbour: Program) -> Operator:
    """Return the reference of a neighbour: the neighbour behind itself."""
    return Operator(f"reference {neighbour.input}", (), chain([neighbour, neighbour]))


@dataclass(frozen=True)
class Carrier:
    """An operator between its neighbours.

    Attributes:
        operator: The whole chain, which is measured.
        references: The references of which half of the latency each is subtracted.
    """

    operator: Operator
    references: tuple[Operator, ...]


def carry(
    operator: Operator, *, first: bool = False, last: bool = False, cold_at_batch: int | None = None
) -> Carrier:
    """Return the carrier of an operator.

    Args:
        operator: The operator.
        first: Whether it begins the network, so that nothing precedes it.
        last: Whether it ends the network, so that nothing follows it.
        cold_at_batch: The batch, where weights are to be as cold as in a large network; None for warm weights.
    """
    pieces = [operator.program]
    references = []
    before = None if first else neighbour_before(operator.program)
    if before is not None:
        pieces.insert(0, before)
        references.append(twice(before))
    behind = None if last else neighbour_behind(operator.program)
    if behind is not None:
        pieces.append(behind)
        references.append(twice(behind))
    carrier = Operator(f"carrier of {operator.short}", (), chain(pieces))
    if cold_at_batch is None or not cold_matters(operator.program, cold_at_batch):
        return Carrier(carrier, tuple(references))
    return Carrier(_cold(carrier), tuple(_cold(part) for part in references))


def _cold(operator: Operator) -> Operator:
    program = with_cold_weights(operator.program)
    if program.copies == 1:
        return operator
    return Operator(f"{operator.family}, {program.copies} copies", (), program)


def subjects_in_context(
    placements: Iterable[Placement], *, cold_at_batch: int | None = None
) -> list[Operator]:
    """Return all distinct models whose latencies `in_context` needs.

    Args:
        placements: Operators and where they stand in their networks.
        cold_at_batch: The batch, where weights are to be cold; None for warm weights.
    """
    models: dict[str, Operator] = {}
    for placement in placements:
        operator = placement.operator
        if operator.program.output == 0:
            continue
        piece = carry(operator, first=placement.first, last=placement.last, cold_at_batch=cold_at_batch)
        for part in (operator, piece.operator, *piece.references):
            models.setdefault(part.program.canonical, part)
    return list(models.values())


def is_auxiliary(label: str) -> bool:
    """Return whether the label of a row belongs to a carrier or a reference, and not to an operator of a space."""
    return label.startswith(("carrier of ", "reference "))


class WeightState(Enum):
    """Whether the figures of a network are those with warm or with cold weights, and why."""

    FITTING = "warm: they fit in the cache"
    COLD = "cold, as in the network"
    LACKING = "warm: the table has no figures with cold weights"


def weight_state(table: LatencyTable, placements: Iterable[Placement], weight_bytes: float) -> WeightState:
    """Return which figures suit networks of a size.

    Args:
        table: The table.
        placements: All operators of the networks.
        weight_bytes: Bytes of the weights of a network.
    """
    if table.imported or not is_cold(weight_bytes):
        return WeightState.FITTING
    for placement in placements:
        if placement.operator.program.output == 0:
            continue
        piece = carry(
            placement.operator,
            first=placement.first,
            last=placement.last,
            cold_at_batch=table.setup.batch,
        )
        if any(table.lookup(part.program) is None for part in (piece.operator, *piece.references)):
            return WeightState.LACKING
    return WeightState.COLD


def require_context(
    table: LatencyTable, placements: Iterable[Placement], command: str, *, cold: bool = False
) -> list[Measurement]:
    """Return the latencies of operators inside a network.

    Args:
        table: The table that they are derived from.
        placements: Operators and where they stand in the network.
        command: The command that measures what is missing, for the error.
        cold: Whether weights are cold.

    Raises:
        MissingMeasurementsError: The table lacks operators; the error names them.
    """
    wanted = list(placements)
    figures, missing = [], []
    for placement in wanted:
        figure = in_context(table, placement.operator, first=placement.first, last=placement.last, cold=cold)
        if figure is None:
            missing.append(placement.operator.label)
        else:
            figures.append(figure)
    if missing:
        raise MissingMeasurementsError(list(dict.fromkeys(missing)), len(wanted), table.setup.label, command)
    return figures


def require_network(
    table: LatencyTable, network: Network, command: str
) -> tuple[list[Measurement], WeightState]:
    """Return the latencies of a network's operators inside it, and the state of the weights that suits its size.

    Raises:
        MissingMeasurementsError: The table lacks operators; the error names them.
    """
    state = weight_state(table, network.placements, network.counts.weight_bytes)
    return require_context(table, network.placements, command, cold=state is WeightState.COLD), state


def in_context(
    table: LatencyTable, operator: Operator, *, first: bool = False, last: bool = False, cold: bool = False
) -> Measurement | None:
    """Return the latency of an operator inside a network; None if the table lacks one of its models.

    The interval adds up the variances of the models. A difference below zero, which the noise of the subtraction may
    cause, becomes zero.

    Args:
        table: The table that has the carrier and the references.
        operator: The operator.
        first: Whether it begins the network.
        last: Whether it ends the network.
        cold: Whether its weights are cold.
    """
    if operator.program.output == 0:
        return NOTHING
    if table.imported:
        # Tables of other tools have no carriers; their figures are taken as they are.
        return table.lookup(operator.program)
    piece = carry(operator, first=first, last=last, cold_at_batch=table.setup.batch if cold else None)
    shares = [(piece.operator, 1.0), *((part, -0.5) for part in piece.references)]
    parts = []
    for part, share in shares:
        figure = table.lookup(part.program)
        if figure is None:
            return None
        parts.append((figure, share / part.program.copies))
    seconds = max(0.0, sum(figure.seconds * share for figure, share in parts))
    half_width = float(np.sqrt(sum(((m.high - m.low) / 2 * share) ** 2 for m, share in parts)))
    rounds = min(m.rounds for m, _ in parts)
    return Measurement(seconds, max(0.0, seconds - half_width), seconds + half_width, rounds, "in context")
