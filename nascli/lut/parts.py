"""An operator as the sum of parts that another tool's table has.

Tables of whole blocks are added along the points where a program is one single value; tables of primitives
are added node by node, an activation behind a convolution being fused into it. Either way every part must be
there: what is missing is never counted as zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nascli.lut.statistics import Estimate
from nascli.spaces.primitives import Act, Conv, Linear
from nascli.spaces.programs import Builder, Program

KIND = "sum of imported parts"
Find = Callable[[Program], Estimate | None]


def sum_of_parts(program: Program, find: Find) -> Estimate | None:
    """The figure of a program from figures of its parts; None if any part has none.

    Args:
        program: what is asked for.
        find: the figure of a part, or None.
    """
    points = program.cut_points
    # best[i]: the parts of the program up to the i-th cut point, as few as possible.
    best: list[list[Estimate] | None] = [[]] + [None] * (len(points) - 1)
    for end in range(1, len(points)):
        for start in range(end):
            before = best[start]
            if before is None:
                continue
            segment = program.segment(points[start], points[end])
            figure = find(segment)
            parts = [figure] if figure is not None else None
            if parts is None and end == start + 1:
                parts = _nodes(program, points[start], points[end], find)
            if parts is not None and (best[end] is None or len(before) + len(parts) < len(best[end] or ())):
                best[end] = before + parts
    found = best[-1]
    return None if found is None else _added(found)


def _added(parts: list[Estimate]) -> Estimate:
    seconds = sum(part.seconds for part in parts)
    half = float(np.sqrt(sum(((part.high - part.low) / 2) ** 2 for part in parts)))
    return Estimate(
        seconds, max(0.0, seconds - half), seconds + half, min(part.rounds for part in parts), KIND
    )


def _nodes(program: Program, start: int, end: int, find: Find) -> list[Estimate] | None:
    """A figure for every node between two values but activations that fuse; None if one has none."""
    parts = []
    for node in program.nodes[start:end]:
        if isinstance(node.primitive, Act) and _fuses(program, node.inputs[0]):
            continue
        builder = Builder(program.shape_of(node.inputs[0]))
        if any(program.shape_of(source) != builder.input for source in node.inputs):
            return None
        output = builder.append(node.primitive, (0,) * len(node.inputs))
        figure = find(builder.build(output))
        if figure is None:
            return None
        parts.append(figure)
    return parts


def _fuses(program: Program, value: int) -> bool:
    return value > 0 and isinstance(program.nodes[value - 1].primitive, (Conv, Linear))
