"""Cutting a graph of ONNX where everything flows through one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.tidying import reads


@dataclass(frozen=True)
class Segment:
    """The nodes between two consecutive cuts.

    Attributes:
        nodes: The nodes in evaluation order, with those that only compute constants which these read.
        source: Name of the value that flows in.
        output: Name of the value that flows out.
        inputs: Names of further inputs of the model, which only this segment reads.
        outputs: Names of further outputs of the model, which this segment computes.
    """

    nodes: tuple[onnx.NodeProto, ...]
    source: str
    output: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def join(segments: Sequence[Segment]) -> Segment:
    """Return consecutive segments as one."""
    # Nodes that compute constants may belong to several segments.
    nodes = {id(node): node for segment in segments for node in segment.nodes}
    return Segment(
        tuple(nodes.values()),
        segments[0].source,
        segments[-1].output,
        tuple(name for segment in segments for name in segment.inputs),
        tuple(name for segment in segments for name in segment.outputs),
    )


def cut(nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], outputs: Sequence[str]) -> list[Segment]:
    """Cut a graph at every value through which everything flows.

    Outputs of the model besides the one that is computed last leave where they are computed, and inputs besides the
    first come in where they are read first: neither keeps a cut from being one.

    Args:
        nodes: The nodes, each behind those that it reads.
        inputs: Names of the graph's inputs, without initialisers.
        outputs: Names of the graph's outputs.

    Raises:
        ArchitectureError: The graph has no input, or no output depends on one.
    """
    computed, constant = _split_constants(nodes, inputs)
    if not inputs or not computed:
        raise ArchitectureError("the model computes nothing from an input")
    main = _last_output(computed, outputs)
    last_use = _last_uses(computed, main)
    computed = [node for position, node in enumerate(computed) if _matters(node, position, last_use, outputs)]
    last_use = _last_uses(computed, main)
    source = _first_input(computed, inputs)
    segments: list[Segment] = []
    alive = {source}
    start = 0
    for position, node in enumerate(computed):
        alive.update(name for name in reads(node) if name in last_use and name in inputs)
        alive.update(name for name in node.output if name in last_use)
        alive = {name for name in alive if last_use[name] > position}
        if len(alive) != 1:
            continue
        (value,) = alive
        if value != source and value not in inputs:
            segments.append(
                _segment(computed[start : position + 1], constant, source, value, inputs, outputs)
            )
            source, start = value, position + 1
    if not segments:
        raise ArchitectureError("no output of the model depends on an input")
    return segments


def _split_constants(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[str]
) -> tuple[list[onnx.NodeProto], dict[str, onnx.NodeProto]]:
    """Return the nodes that depend on an input, and the others by the names of what they compute."""
    known = set(inputs)
    computed, constant = [], {}
    for node in nodes:
        if any(name in known for name in reads(node)):
            computed.append(node)
            known.update(name for name in node.output if name)
        else:
            constant.update(dict.fromkeys(node.output, node))
    return computed, constant


def _last_output(nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]) -> str:
    for node in reversed(nodes):
        for name in node.output:
            if name in outputs:
                return str(name)
    raise ArchitectureError("no output of the model depends on an input")


def _last_uses(nodes: Sequence[onnx.NodeProto], main: str) -> dict[str, int]:
    """Return the last node that reads each value; the main output is read behind the last node."""
    last_use = {name: position for position, node in enumerate(nodes) for name in reads(node) if name}
    last_use[main] = len(nodes)
    return last_use


def _matters(node: onnx.NodeProto, position: int, last_use: dict[str, int], outputs: Sequence[str]) -> bool:
    return any(name in outputs or last_use.get(name, -1) > position for name in node.output)


def _first_input(nodes: Sequence[onnx.NodeProto], inputs: Sequence[str]) -> str:
    """Return the input that is read first."""
    for node in nodes:
        for name in reads(node):
            if name in inputs:
                return str(name)
    raise ArchitectureError("the model computes nothing from an input")


def _segment(
    nodes: Sequence[onnx.NodeProto],
    constant: dict[str, onnx.NodeProto],
    source: str,
    output: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Segment:
    read = [name for node in nodes for name in reads(node)]
    made = {name for node in nodes for name in node.output}
    return Segment(
        (*_constants_of(read, constant), *nodes),
        source,
        output,
        tuple(name for name in dict.fromkeys(read) if name in inputs and name != source),
        tuple(name for name in outputs if name in made and name != output),
    )


def _constants_of(names: Sequence[str], constant: dict[str, onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Return the nodes that compute constants, and those that these need, in evaluation order."""
    order: dict[int, onnx.NodeProto] = {}
    stack = [(name, False) for name in reversed(names) if name in constant]
    while stack:
        name, is_done = stack.pop()
        node = constant[name]
        if is_done:
            order.setdefault(id(node), node)
        elif id(node) not in order:
            stack.append((name, True))
            stack.extend((other, False) for other in reads(node) if other in constant)
    return list(order.values())
