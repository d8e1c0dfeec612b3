"""Latency of programs and spaces from the data sheet of a device. The kind of every figure is 'predicted'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.roofline.efficiency import LAUNCH, Efficiency, load_efficiency
from nascli.costmodel.roofline.hardware import Hardware
from nascli.costmodel.roofline.kernels import kernels_of, width_of
from nascli.costmodel.space_costs import free_joins
from nascli.spaces.programs import Program
from nascli.spaces.space import Space

# Kernels that only move bytes reach about this share of the bandwidth in the data sheet.
_STREAMING = 0.75
# Device that the efficiencies were fitted to.
FITTED_ON = "v100"


@dataclass(frozen=True)
class PredictedLatency:
    """A predicted latency in seconds per batch.

    Attributes:
        seconds: The latency.
        low, high: 90 % interval, from the errors on data that the model was not fitted to.
        by_node: Seconds of every node of the program (1-based) that launches a kernel.
    """

    seconds: float
    low: float
    high: float
    by_node: dict[int, float]


def predict_program(
    program: Program, device: Hardware, batch: int, precision: str, efficiency: Efficiency | None = None
) -> PredictedLatency:
    """Predict the latency of an operator or a network.

    Args:
        program: Program of the operator or network.
        device: Figures of the data sheet.
        batch: Samples per batch.
        precision: 'fp32', 'fp16', or 'int8'.
        efficiency: Model of kernel efficiency; by default the one that comes with the package.

    Raises:
        DeviceError: The data sheet has no figure for the precision.
    """
    model = efficiency or load_efficiency()
    device.peak_of(precision)
    work = kernels_of(program, batch, precision)
    streamed = work.moved / (device.bandwidth * _STREAMING) + LAUNCH
    by_node: dict[int, float] = {}
    for node, seconds in zip(
        (*work.nodes, *work.moved_nodes),
        (*model(work.kernels, [device] * len(work.kernels)), *streamed),
        strict=True,
    ):
        by_node[node] = by_node.get(node, 0.0) + float(seconds)
    total = sum(by_node.values())
    share = model.quantiles[1 if device.key == FITTED_ON else 2]
    return PredictedLatency(total, total / (1 + share), total * (1 + share), by_node)


def roofline_latency(space: Space, device: Hardware, batch: int, precision: str) -> ChainCost:
    """Return the latency of a space as a sum of predicted operators, in seconds per batch; its kind is 'predicted'.

    Joining branches costs memory traffic: every further branch reads and writes the output of its layer once more.

    Args:
        space: Single-path or multi-branch space.
        device: Figures of the data sheet.
        batch: Samples per batch.
        precision: 'fp32', 'fp16', or 'int8'.

    Raises:
        DeviceError: The data sheet has no figure for the precision.
    """
    seconds: dict[str, float] = {}

    def cost(program: Program) -> float:
        if program.canonical not in seconds:
            seconds[program.canonical] = predict_program(program, device, batch, precision).seconds
        return seconds[program.canonical]

    joins = None
    if space.multi_branch:
        width = width_of(precision)
        each = [
            3 * layer.output.size * batch * width / (device.bandwidth * _STREAMING) + LAUNCH
            for layer in space.layers
        ]
        joins = tuple(
            join + np.maximum(np.arange(len(join)) - (layer.join == "reduction"), 0) * seconds_each
            for join, layer, seconds_each in zip(free_joins(space), space.layers, each, strict=True)
        )
    return ChainCost(
        name="latency",
        dimension="time",
        offset=sum(cost(block.operator.program) for block in space.fixed),
        unary=tuple(np.array([cost(c.program) for c in layer.candidates]) for layer in space.layers),
        joins=joins,
        kind="predicted",
        device=device.key,
    )
