"""What joining parallel branches costs, from models measured like any operator.

ONNX Runtime's CPU provider runs branches one after another, so a multi-branch layer is the sum of its branches
in context and of the sums that join them. A sum fuses into the convolution before it, or does not, depending
on what it joins; so k pointwise convolutions in parallel are timed, and the same convolutions in a row are
taken off:

    join(k) = T(pw - k parallel pw - mean - pw) - T(pw - pw) - k * (T(pw - pw - pw) - T(pw - pw))

It is measured at the fewest and at the most branches, and linear between.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from nascli.lut.in_context.carriers import reference
from nascli.lut.table import LatencyTable
from nascli.spaces.blocks import Layer, join_branches
from nascli.spaces.operators.basic import conv_block
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program, chain
from nascli.spaces.space import Space


@dataclass(frozen=True)
class Join:
    """One way of joining: `branches` of them at a shape, with the layer's input among the addends or not."""

    shape: Shape
    branches: int
    with_input: bool


@lru_cache(maxsize=4096)
def _pointwise(shape: Shape) -> Operator:
    return conv_block(shape, shape.channels, kernel=1, act="none")


@lru_cache(maxsize=4096)
def serial_reference(shape: Shape) -> Operator:
    """Three pointwise convolutions at a shape."""
    pointwise: Program = _pointwise(shape).program
    return Operator(f"reference of three {shape}", (), chain([pointwise, pointwise, pointwise]))


@lru_cache(maxsize=4096)
def parallel_carrier(join: Join) -> Operator:
    """Pointwise convolutions side by side, joined, between two others."""
    pointwise = _pointwise(join.shape)
    middle = join_branches((pointwise,) * join.branches, join.shape, join.with_input)
    programs = [pointwise.program, middle.program, pointwise.program]
    return Operator(f"carrier of {join.branches} branches", (), chain(programs))


def joins_of(layer: Layer) -> tuple[Join, ...]:
    """What is measured for a layer: its fewest and most addends."""
    normal = layer.join == "normal"
    most = min(layer.max_branches, len(layer.candidates))
    counts = (1, most) if normal else (2, most)
    return tuple(Join(layer.output, k, normal) for k in sorted(set(counts)) if 1 <= k <= most)


def join_models(space: Space) -> list[Operator]:
    """Everything to measure for the joins of a space; nothing for a single-path one."""
    found: dict[str, Operator] = {}
    for layer in space.layers if space.multi_branch else ():
        for join in joins_of(layer):
            for model in (parallel_carrier(join), reference(join.shape), serial_reference(join.shape)):
                found.setdefault(model.program.canonical, model)
    return list(found.values())


def join_costs(table: LatencyTable, layer: Layer) -> npt.NDArray[np.float64] | None:
    """`(most + 1,)` seconds of joining k branches; infinite where k is not allowed, None if not measured.

    No branch of a normal layer, and one of a reduction, need no joining and cost nothing. What is faster than
    nothing, by the noise of the differences or because a sum disappears into a convolution, costs nothing.
    """
    known: dict[int, float] = {layer.min_branches: 0.0}
    for join in joins_of(layer):
        figures = [
            table.lookup(model.program)
            for model in (parallel_carrier(join), reference(join.shape), serial_reference(join.shape))
        ]
        if any(figure is None for figure in figures):
            return None
        parallel, two, three = (figure.seconds for figure in figures if figure is not None)
        known[join.branches] = max(0.0, parallel - two - join.branches * (three - two))
    counts = np.arange(layer.max_branches + 1)
    seconds = np.interp(counts, sorted(known), [known[k] for k in sorted(known)])
    allowed = counts >= layer.min_branches
    return np.where(allowed & (counts <= len(layer.candidates)), seconds, np.inf)
