"""Cost models of a space: exact counts, and latency from a measured table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable
from nascli.lut.in_context.carriers import require_context
from nascli.lut.in_context.joins import join_costs
from nascli.spaces.blocks import Layer, Placement
from nascli.spaces.counts import Counts, count
from nascli.spaces.operators.definition import Operator
from nascli.spaces.space import Space
from nascli.units import Dimension

_COUNTED: dict[str, tuple[Dimension, Callable[[Counts], int]]] = {
    "macs": ("count", lambda c: c.macs),
    "params": ("count", lambda c: c.params),
    "weight_bytes": ("bytes", lambda c: c.weight_bytes),
    "bitops": ("count", lambda c: c.bitops),
}


def counted_names() -> list[str]:
    """Names of the costs that are counted on paper."""
    return list(_COUNTED)


def _joins(space: Space) -> tuple[np.ndarray[Any, np.dtype[np.float64]], ...] | None:
    return paper_joins(space) if space.multi_branch else None


def paper_joins(space: Space) -> tuple[np.ndarray[Any, np.dtype[np.float64]], ...]:
    """Per layer of a multi-branch space, joins that cost nothing; infinite where a number is not allowed."""
    joins = []
    for layer in space.layers:
        join = np.zeros(layer.max_branches + 1)
        # No branch at all is no choice of a reduction layer.
        join[0] = np.inf if layer.join == "reduction" else 0.0
        joins.append(join)
    return tuple(joins)


def counted(space: Space, name: str) -> ChainCost:
    """MACs, parameters, bytes of weights, or BitOps of a space's architectures.

    Raises:
        ConstraintError: a name that is not counted.
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


def table_latency(space: Space, table: LatencyTable, command: str) -> ChainCost:
    """Latency as the sum of a table's operator times in context, in seconds per batch.

    A multi-branch layer costs its branches and what joining them costs (`nascli.lut.in_context.joins`).

    Raises:
        MissingMeasurementsError: naming the operators that the table lacks, and `command`.
        ConstraintError: a multi-branch space whose joins the table does not have.
    """
    placements = space.distinct_placements()
    figures = require_context(table, placements, command)
    seconds = {placement.key: figure.seconds for placement, figure in zip(placements, figures, strict=True)}
    joins = None
    if space.multi_branch:
        found = [join_costs(table, layer) for layer in space.layers]
        if any(values is None for values in found):
            raise ConstraintError(
                f"{table.setup.label} lacks what joining the branches of {space.name} costs.",
                f"Measure it: {command}",
            )
        joins = tuple(values for values in found if values is not None)
    return _summed(space, lambda placement: seconds[placement.key], joins, table.setup.device)


def alone_latency(space: Space, table: LatencyTable) -> ChainCost | None:
    """The sum of operators timed alone; None where one was never timed alone."""
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
    """How many branches a multi-branch architecture has."""
    return ChainCost(
        name="branches",
        dimension="count",
        offset=0.0,
        unary=tuple(np.zeros(len(layer.candidates)) for layer in space.layers),
        joins=tuple(join + np.arange(len(join)) for join in paper_joins(space)),
    )


def _summed(
    space: Space,
    seconds: Callable[[Placement], float],
    joins: tuple[np.ndarray[Any, np.dtype[np.float64]], ...] | None,
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
