"""The latency of joining parallel branches, derived from models that are measured like operators.

ONNX Runtime's CPU provider runs branches one after another, so a multi-branch layer costs the sum of its branches in
context and of the additions that join them. Whether an addition is fused into the convolution before it depends on
what it joins. So k pointwise convolutions in parallel are timed, and the same convolutions in sequence are subtracted:

    join(k) = T(pw - k parallel pw - mean - pw) - T(pw - pw) - k * (T(pw - pw - pw) - T(pw - pw))

It is measured at the minimum and at the maximum number of branches, and interpolated linearly between them.
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
    """One way of joining branches.

    Attributes:
        shape: The shape of the layer's output.
        branches: The number of branches that are added.
        with_input: Whether the layer's input is added too.
    """

    shape: Shape
    branches: int
    with_input: bool


@lru_cache(maxsize=4096)
def _pointwise(shape: Shape) -> Operator:
    return conv_block(shape, shape.channels, kernel=1, act="none")


@lru_cache(maxsize=4096)
def serial_reference(shape: Shape) -> Operator:
    """Return three pointwise convolutions at a shape, in sequence."""
    pointwise: Program = _pointwise(shape).program
    return Operator(f"reference of three {shape}", (), chain([pointwise, pointwise, pointwise]))


@lru_cache(maxsize=4096)
def parallel_carrier(join: Join) -> Operator:
    """Return parallel pointwise convolutions that are joined, between two others."""
    pointwise = _pointwise(join.shape)
    middle = join_branches((pointwise,) * join.branches, join.shape, join.with_input)
    programs = [pointwise.program, middle.program, pointwise.program]
    return Operator(f"carrier of {join.branches} branches", (), chain(programs))


def joins_of(layer: Layer) -> tuple[Join, ...]:
    """Return the joins that are measured for a layer: those of the fewest and of the most branches."""
    is_normal = layer.join == "normal"
    max_branches = min(layer.max_branches, len(layer.candidates))
    counts = {1, max_branches} if is_normal else {2, max_branches}
    return tuple(Join(layer.output, k, is_normal) for k in sorted(counts) if 1 <= k <= max_branches)


def join_models(space: Space) -> list[Operator]:
    """Return all distinct models that `join_costs` needs; none if the space is single-path."""
    models: dict[str, Operator] = {}
    for layer in space.layers if space.multi_branch else ():
        for join in joins_of(layer):
            for model in (parallel_carrier(join), reference(join.shape), serial_reference(join.shape)):
                models.setdefault(model.program.canonical, model)
    return list(models.values())


def join_costs(table: LatencyTable, layer: Layer) -> npt.NDArray[np.float64] | None:
    """Return the latency of joining k branches of a layer, for each k.

    No branch of a normal layer and one branch of a reduction need no joining and cost nothing. A difference below
    zero, from noise or because an addition is fused into a convolution, becomes zero.

    Returns:
        `(layer.max_branches + 1,)` seconds by the number of branches, infinite for a number that the layer does not
        allow; None if the table lacks one of the models.
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
