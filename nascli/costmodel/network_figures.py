"""Figures of a network that may explain by how much it differs from the sum of its operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nascli.errors import MissingMeasurementsError
from nascli.lut import LatencyTable
from nascli.lut.in_context.carriers import require_network
from nascli.lut.in_context.cold_weights import FEW_USES
from nascli.spaces.counts import FLOAT_BYTES, count, node_macs, node_weights
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Act, Opaque, Split
from nascli.spaces.programs import Program


@dataclass(frozen=True)
class ProgramFigures:
    """What a program moves and computes in one run.

    Attributes:
        weight_bytes: Bytes of all weights.
        few_use_bytes: Bytes of the weights that one run uses at most `FEW_USES` times each.
        activation_bytes: Bytes of activations that operators read and write.
        primitives: Number of operators that a runtime carries out: without activations and splits, which it fuses; a
            piece of ONNX has as many as nodes.
    """

    weight_bytes: int
    few_use_bytes: int
    activation_bytes: int
    primitives: int


@dataclass(frozen=True)
class NetworkFigures:
    """What is known of a network without measuring it whole.

    Attributes:
        in_context: Sum of its operators' latencies in context, in seconds.
        alone: Sum of their latencies when timed alone, in seconds.
        program: What it moves and computes.
        opaque_share: The share of `in_context` that is spent in pieces of ONNX, in [0, 1].
    """

    in_context: float
    alone: float
    program: ProgramFigures
    opaque_share: float


def program_figures(program: Program, batch: int) -> ProgramFigures:
    """Return what a program moves and computes in one run.

    Args:
        program: The program.
        batch: Samples per run.
    """
    counts = count(program)
    few = 0
    primitives = 0
    for node in program.nodes:
        inputs = [program.shape_of(value) for value in node.inputs]
        weights = node_weights(node, inputs[0])
        if weights and node_macs(node, inputs) * batch <= FEW_USES * weights:
            few += FLOAT_BYTES * weights
        if isinstance(node.primitive, Opaque):
            primitives += len(node.primitive.parsed.nodes)
        elif not isinstance(node.primitive, (Act, Split)):
            primitives += 1
    # What is moved holds weights once for each sample.
    activations = batch * max(0, counts.moved_bytes - counts.weight_bytes)
    return ProgramFigures(counts.weight_bytes, few, activations, primitives)


def network_figures(network: Network, table: LatencyTable, command: str) -> NetworkFigures:
    """Return the figures of a network.

    Args:
        network: The network.
        table: Latencies of its operators, alone and in context.
        command: The command that measures what the table lacks, for the error.

    Raises:
        MissingMeasurementsError: The table lacks operators; the error names them.
    """
    in_context, _ = require_network(table, network, command)
    total = sum(figure.seconds for figure in in_context)
    opaque = sum(
        figure.seconds
        for figure, operator in zip(in_context, network.operators, strict=True)
        if operator.program.batch is not None
    )
    return NetworkFigures(
        total,
        seconds_alone(network.operators, table, command),
        program_figures(network.program, table.setup.batch),
        opaque / total if total else 0.0,
    )


def seconds_alone(operators: Sequence[Operator], table: LatencyTable, command: str) -> float:
    """Return the sum of the latencies of operators when timed alone, in seconds.

    Args:
        operators: The operators.
        table: Their latencies.
        command: The command that measures what the table lacks, for the error.

    Raises:
        MissingMeasurementsError: The table lacks operators; the error names them.
    """
    figures = [table.lookup(operator.program) for operator in operators]
    missing = [o.label for o, figure in zip(operators, figures, strict=True) if figure is None]
    if missing:
        raise MissingMeasurementsError(list(dict.fromkeys(missing)), len(figures), table.setup.label, command)
    return sum(figure.seconds for figure in figures if figure is not None)
