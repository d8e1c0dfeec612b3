"""Cost models of a space: exact counts, and latency from a table of measurements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable
from nascli.lut.in_context.carriers import WeightState, require_context, weight_state
from nascli.lut.in_context.joins import join_costs
from nascli.spaces.blocks import Layer, Placement
from nascli.spaces.counts import Counts, count
from nascli.spaces.operators.definition import Operator
from nascli.spaces.space import Space
from nascli.units import Dimension

Array = npt.NDArray[np.float64]
_COUNTED: dict[str, tuple[Dimension, Callable[[Counts], int]]] = {
    "macs": ("count", lambda c: c.macs),
    "params": ("count", lambda c: c.params),
    "weight_bytes": ("bytes", lambda c: c.weight_bytes),
    "bitops": ("count", lambda c: c.bitops),
}


def counted_names() -> list[str]:
    """Return the names of the costs that are counted in closed form."""
    return list(_COUNTED)


def _joins(space: Space) -> tuple[Array, ...] | None:
    return free_joins(space) if space.multi_branch else None


def free_joins(space: Space) -> tuple[Array, ...]:
    """Return `ChainCost.joins` of a multi-branch space in which joining branches costs nothing."""
    joins = []
    for layer in space.layers:
        join = np.zeros(layer.max_branches + 1)
        # A reduction layer has at least one branch.
        join[0] = np.inf if layer.join == "reduction" else 0.0
        joins.append(join)
    return tuple(joins)


def counted(space: Space, name: str) -> ChainCost:
    """Return a counted cost of a space; its kind is 'counted'.

    Args:
        space: Single-path or multi-branch space.
        name: 'macs', 'params', 'weight_bytes', or 'bitops'.

    Raises:
        ConstraintError: The name is not that of a counted cost, or BitOps are asked of a space without bit widths.
    """
    if name not in _COUNTED:
        raise ConstraintError(f"{name!r} is not counted; known are {', '.join(_COUNTED)}")
    dimension, read = _COUNTED[name]
    if name == "bitops" and not any(count(o.program).bitops for o in space.operators()):
        raise ConstraintError(f"{space.name} has no bit widths, so its BitOps cannot be bounded.")

    def cost(operator: Operator) -> float:
        return float(read(count(operator.program)))

    return ChainCost(
        name=name,
        dimension=dimension,
        offset=sum(cost(block.operator) for block in space.fixed),
        unary=tuple(np.array([cost(c) for c in layer.candidates]) for layer in space.layers),
        joins=_joins(space),
    )


def typical_weight_bytes(space: Space) -> float:
    """Return bytes of the weights of a typical network: the mean of the smallest and the largest."""
    weights = counted(space, "weight_bytes")
    return (weights.minimum + weights.maximum) / 2


def weights_of_space(space: Space, table: LatencyTable) -> WeightState:
    """Return whether the networks of a space have warm or cold weights in the figures of a table."""
    return weight_state(table, space.distinct_placements(), typical_weight_bytes(space))


def table_latency(space: Space, table: LatencyTable, command: str) -> ChainCost:
    """Return latency as the sum of operators in context, in seconds per batch; its kind is 'measured'.

    A multi-branch layer costs the sum of its branches plus the joining of them (`nascli.lut.in_context.joins`).

    Args:
        space: Single-path or multi-branch space.
        table: Measurements.
        command: Command that measures what the table lacks, for messages.

    Raises:
        MissingMeasurementsError: The table lacks operators.
        ConstraintError: The table lacks the joins of a multi-branch space.
    """
    placements = space.distinct_placements()
    figures = require_context(
        table, placements, command, cold=weights_of_space(space, table) is WeightState.COLD
    )
    seconds = {placement.key: figure.seconds for placement, figure in zip(placements, figures, strict=True)}
    joins = None
    if space.multi_branch:
        measured_joins = [join_costs(table, layer) for layer in space.layers]
        if any(values is None for values in measured_joins):
            raise ConstraintError(
                f"{table.setup.label} lacks what joining the branches of {space.name} costs.",
                f"Measure it: {command}",
            )
        joins = tuple(values for values in measured_joins if values is not None)
    return _summed(space, lambda placement: seconds[placement.key], joins, table.setup.device)


def alone_latency(space: Space, table: LatencyTable) -> ChainCost | None:
    """Return latency as the sum of operators that were timed alone, or None if the table lacks one."""
    seconds = {}
    for operator in space.operators():
        figure = table.lookup(operator.program)
        if figure is None:
            return None
        seconds[operator.program.canonical] = figure.seconds

    def seconds_alone(placement: Placement) -> float:
        return seconds[placement.operator.program.canonical]

    return _summed(space, seconds_alone, _joins(space), table.setup.device)


def branch_count(space: Space) -> ChainCost:
    """Return the number of branches of the architectures of a multi-branch space."""
    return ChainCost(
        name="branches",
        dimension="count",
        offset=0.0,
        unary=tuple(np.zeros(len(layer.candidates)) for layer in space.layers),
        joins=tuple(join + np.arange(len(join)) for join in free_joins(space)),
    )


def _summed(
    space: Space,
    seconds: Callable[[Placement], float],
    joins: tuple[Array, ...] | None,
    device: str,
) -> ChainCost:
    """Return the chain of the seconds of all operators, which may depend on where an operator stands."""
    offset, unary = 0.0, []
    for block, placements in zip(space.blocks, space.placements, strict=True):
        costs = [seconds(placement) for placement in placements]
        if isinstance(block, Layer):
            unary.append(np.array(costs))
        else:
            offset += costs[0]
    return ChainCost(
        name="latency",
        dimension="time",
        offset=offset,
        unary=tuple(unary),
        joins=joins,
        kind="measured",
        device=device,
    )
