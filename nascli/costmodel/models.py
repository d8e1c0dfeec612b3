"""Cost models of a space: exact counts, and latency from a measured table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable
from nascli.lut.context import require_context
from nascli.spaces.counts import Counts, count
from nascli.spaces.operators import Operator
from nascli.spaces.space import Layer, Space
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


def _joins(space: Space) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...] | None:
    if not space.multi_branch:
        return None
    joins = []
    for layer in space.layers:
        join = np.zeros(layer.most + 1)
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
        offset=sum(cost(operator) for _, operator in space.fixed),
        unary=tuple(np.array([cost(c) for c in layer.candidates]) for layer in space.layers),
        joins=_joins(space),
    )


def table_latency(space: Space, table: LatencyTable, command: str) -> ChainCost:
    """Latency as the sum of a table's operator times in context, in seconds per batch.

    Raises:
        MissingMeasurementsError: naming the operators that the table lacks, and `command`.
        ConstraintError: a multi-branch space, whose joins a table of single operators does not have.
    """
    if space.multi_branch:
        raise ConstraintError(
            f"{space.name} is multi-branch: a sum of single operators leaves out what joining them costs."
        )
    placed = space.placed()
    seconds = {
        (operator.program.canonical, first, last): figure.seconds
        for (operator, first, last), figure in zip(
            placed, require_context(table, placed, command), strict=True
        )
    }
    end = len(space.blocks) - 1
    offset, unary = 0.0, []
    for position, block in enumerate(space.blocks):
        first, last = position == 0, position == end
        if isinstance(block, Layer):
            candidates = block.candidates
            unary.append(np.array([seconds[(c.program.canonical, first, last)] for c in candidates]))
        else:
            offset += seconds[(block[1].program.canonical, first, last)]
    return ChainCost(
        name="latency",
        dimension="time",
        offset=offset,
        unary=tuple(unary),
        kind="measured",
        device=table.setup.device,
    )
