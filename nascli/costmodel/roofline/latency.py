"""Latency of programs and spaces on a device that is not here. Every figure says that it is predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nascli.costmodel.chain import ChainCost
from nascli.costmodel.models import paper_joins
from nascli.costmodel.roofline.efficiency import LAUNCH, Efficiency, load_efficiency
from nascli.costmodel.roofline.hardware import Hardware
from nascli.costmodel.roofline.kernels import kernels_of, width_of
from nascli.spaces.programs import Program
from nascli.spaces.space import Space

# Kernels that only move bytes reach about this share of the data sheet's bandwidth.
_STREAMING = 0.75
# What the efficiencies were fitted on.
FITTED_ON = "v100"


@dataclass(frozen=True)
class Predicted:
    """A predicted latency in seconds per batch.

    Attributes:
        seconds: the figure.
        low, high: its 90 % interval, from errors on data that the model was not fitted on.
        by_node: seconds of each of the program's nodes (1-based) that launches a kernel.
    """

    seconds: float
    low: float
    high: float
    by_node: dict[int, float]


def predict_program(
    program: Program, device: Hardware, batch: int, precision: str, efficiency: Efficiency | None = None
) -> Predicted:
    """Latency of an operator or a network.

    Raises:
        DeviceError: a precision that the device's data sheet has no figure for.
    """
    model = efficiency or load_efficiency()
    device.peak_of(precision)
    work = kernels_of(program, batch, precision)
    found = dict(zip(work.nodes, model(work.kernels, [device] * len(work.kernels)), strict=True))
    streamed = work.moved / (device.bandwidth * _STREAMING) + LAUNCH
    found |= dict(zip(work.moved_nodes, streamed, strict=True))
    by_node = {node: float(seconds) for node, seconds in found.items()}
    total = sum(by_node.values())
    share = model.quantiles[1 if device.key == FITTED_ON else 2]
    return Predicted(total, total / (1 + share), total * (1 + share), by_node)


def roofline_latency(space: Space, device: Hardware, batch: int, precision: str) -> ChainCost:
    """Latency of a space's architectures as a sum of predicted operators; its kind is 'predicted'.

    A sum of branches is streamed: each further branch reads and writes its layer's output once more.
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
            for join, layer, seconds_each in zip(paper_joins(space), space.layers, each, strict=True)
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
