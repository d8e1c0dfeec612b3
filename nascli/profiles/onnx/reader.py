"""Reading nodes of ONNX as primitives, and cutting what was read into operators where one value flows."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.node_readers import READERS, passes_through
from nascli.profiles.onnx.reading import Reading, constant_of
from nascli.spaces import primitives as p
from nascli.spaces.layouts import channels_last
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program

Weights = dict[str, npt.NDArray[np.float32]]


class UnreadableNodeError(ArchitectureError):
    """A node that no primitive describes.

    Attributes:
        position: Its position among the nodes that were to be read.
    """

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


def read_program(
    nodes: Sequence[onnx.NodeProto],
    source: tuple[str, Shape],
    output: str,
    *,
    initializers: Mapping[str, onnx.TensorProto],
    batch: int,
    is_vector: bool = False,
    keep_weights: bool = False,
) -> tuple[Program, Weights]:
    """Read nodes as primitives.

    Args:
        nodes: Nodes in evaluation order.
        source: Name and shape of the one value that they read from outside.
        output: Name of the value that they give, the only one that is read outside.
        initializers: Initialisers of the graph by name.
        batch: Samples in the value that they read.
        is_vector: Whether that value is `(batch, channels)`.
        keep_weights: Whether weights are read, with batch normalisation folded as `graphs.onnx_model` takes them.

    Returns:
        The program, and its weights by name if they are kept.

    Raises:
        UnreadableNodeError: A node has no primitive.
        ArchitectureError: The output is a value in an order that no primitive gives.
        SpaceError: The output is not among what they compute.
    """
    numbered, output = _without_pass_through(nodes, output)
    uses = Counter(name for _, node in numbered for name in node.input)
    uses[output] += 1
    reading = Reading(initializers, uses, source, batch, is_vector=is_vector, keep_weights=keep_weights)
    reading.erf_inputs.update(node.input[0] for _, node in numbered if node.op_type == "Erf")
    for position, node in numbered:
        try:
            _read(reading, node)
        except (SpaceError, ArchitectureError, LookupError, ValueError, TypeError, ArithmeticError) as error:
            name = node.name or ", ".join(node.output)
            raise UnreadableNodeError(position, f"node {name} ({node.op_type}): {error}") from error
    if output not in reading.held:
        raise SpaceError(f"{output!r} is not computed")
    return reading.finish(output)


def _read(reading: Reading, node: onnx.NodeProto) -> None:
    if node.op_type == "Constant":
        reading.add_constant(node.output[0], constant_of(node))
        return
    reader = READERS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if reader is None or len(node.output) < 1:
        raise ArchitectureError(f"nascli has no primitive for it; supported are {', '.join(sorted(READERS))}")
    reading.held[node.output[0]] = reader(reading, node)


def _without_pass_through(
    nodes: Sequence[onnx.NodeProto], output: str
) -> tuple[list[tuple[int, onnx.NodeProto]], str]:
    """Return nodes with their positions, without those that return their input, and the name of the output."""
    source: dict[str, str] = {}
    kept = []
    for position, node in enumerate(nodes):
        inputs = [source.get(name, name) for name in node.input]
        if passes_through(node):
            source[node.output[0]] = inputs[0]
            continue
        copy = node
        if inputs != list(node.input):
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            del copy.input[:]
            copy.input.extend(inputs)
        kept.append((position, copy))
    return kept, source.get(output, output)


def split_program(program: Program) -> list[Operator]:
    """Return one operator for each piece of a program between two consecutive cut points.

    Nothing is cut where a deployed model holds a value with its channels last: it would be transposed twice.
    """
    last = channels_last(program)
    points = [
        point for point in program.cut_points if point not in last and not _belongs_together(program, point)
    ]
    if points[-1] != len(program.nodes):
        points.append(len(program.nodes))
    operators = []
    for start, end in itertools.pairwise(points):
        piece = program.segment(start, end)
        kinds = "-".join(dict.fromkeys(node.primitive.kind for node in piece.nodes))
        operators.append(Operator(kinds, (), piece))
    return operators


def _belongs_together(program: Program, value: int) -> bool:
    """Return whether no cut is wanted at a value: before an activation, or behind global pooling."""
    if value in (0, len(program.nodes)):
        return False
    following = program.nodes[value].primitive
    return isinstance(following, p.Act) or isinstance(program.nodes[value - 1].primitive, p.GlobalPool)
