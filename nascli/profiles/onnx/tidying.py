"""Bringing the graph of an ONNX model into the order and form on which everything else relies."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import inliner, numpy_helper

from nascli.errors import ArchitectureError

_MAX_SPARSE_SIZE = 1 << 28


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without functions of its own, whose constants are initialisers, with its nodes in order.

    Runtimes do the same when they load a model.

    Args:
        model: The model, which may be changed.

    Raises:
        ArchitectureError: A value is computed twice, from itself, or not at all; or functions call each other in a
            circle.
    """
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:
            raise ArchitectureError(f"its functions cannot be inlined: {error}") from error
    graph = model.graph
    _lift_constants(graph)
    _densify(graph)
    nodes = _in_order(graph)
    if [id(node) for node in nodes] != [id(node) for node in graph.node]:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return model


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Make initialisers of the Constant nodes outside of subgraphs; sparse ones stay nodes."""
    outputs = {value.name for value in graph.output}
    lifted = []
    for position, node in enumerate(graph.node):
        # An output that is a constant must be computed by a node.
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx") and not outputs & set(node.output):
            tensor = _constant_tensor(node)
            if tensor is not None:
                tensor.name = node.output[0]
                graph.initializer.append(tensor)
                lifted.append(position)
    for position in reversed(lifted):
        del graph.node[position]


def _densify(graph: onnx.GraphProto) -> None:
    """Make ordinary initialisers of sparse ones, as runtimes do."""
    for sparse in graph.sparse_initializer:
        sizes = tuple(sparse.dims)
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        if min(sizes, default=0) < 1 or np.prod(sizes, dtype=np.float64) > _MAX_SPARSE_SIZE:
            raise ArchitectureError(
                f"the sparse constant {sparse.values.name!r} has impossible sizes: {sizes}"
            )
        try:
            if indices.ndim == 2:
                indices = np.ravel_multi_index(tuple(indices.T), sizes)
            dense = np.zeros(int(np.prod(sizes)), values.dtype)
            dense[indices] = values
        except (ValueError, IndexError, TypeError) as error:
            raise ArchitectureError(
                f"the sparse constant {sparse.values.name!r} is damaged: {error}"
            ) from error
        graph.initializer.append(numpy_helper.from_array(dense.reshape(sizes), sparse.values.name))
    del graph.sparse_initializer[:]


def _constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if len(node.attribute) != 1 or len(node.output) != 1:
        return None
    (attribute,) = node.attribute
    match attribute.name:
        case "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(attribute.t)
            return tensor
        case "value_float":
            return numpy_helper.from_array(np.array(attribute.f, np.float32))
        case "value_floats":
            return numpy_helper.from_array(np.array(attribute.floats, np.float32))
        case "value_int":
            return numpy_helper.from_array(np.array(attribute.i, np.int64))
        case "value_ints":
            return numpy_helper.from_array(np.array(attribute.ints, np.int64))
        case "value_string":
            return _strings([], [attribute.s])
        case "value_strings":
            return _strings([len(attribute.strings)], attribute.strings)
        case _:
            return None


def _strings(dims: Sequence[int], values: Sequence[bytes]) -> onnx.TensorProto:
    return onnx.TensorProto(data_type=onnx.TensorProto.STRING, dims=dims, string_data=values)


def _in_order(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes so that each follows those that it reads, in the order of the file as far as possible."""
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    nodes: Sequence[onnx.NodeProto] = graph.node
    maker: dict[str, int] = {}
    for position, node in enumerate(nodes):
        for name in node.output:
            if name and (name in maker or name in given):
                raise ArchitectureError(
                    f"the value {name!r} is computed twice, the second time by {said(node)}"
                )
            maker[name] = position
    waits: list[set[int]] = []
    readers: dict[int, list[int]] = {}
    for position, node in enumerate(nodes):
        sources = set()
        for name in reads(node):
            if name and name not in given:
                if name not in maker:
                    raise ArchitectureError(f"{said(node)} reads {name!r}, which nothing computes")
                sources.add(maker[name])
        waits.append(sources)
        for source in sources:
            readers.setdefault(source, []).append(position)
    if all(not sources or max(sources) < position for position, sources in enumerate(waits)):
        return list(nodes)
    ready = deque(position for position, sources in enumerate(waits) if not sources)
    order = []
    while ready:
        position = ready.popleft()
        order.append(position)
        for reader in readers.get(position, ()):
            waits[reader].discard(position)
            if not waits[reader]:
                ready.append(reader)
    if len(order) < len(nodes):
        stuck = next(nodes[position] for position, sources in enumerate(waits) if sources)
        raise ArchitectureError(f"the nodes read each other in a circle, among them {said(stuck)}")
    return [nodes[position] for position in order]


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the names that a node reads, those that its subgraphs read from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
            own |= {sparse.values.name for sparse in graph.sparse_initializer}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in own)
                own.update(inner.output)
            yield from (value.name for value in graph.output if value.name not in own)


def said(node: onnx.NodeProto) -> str:
    """Return a node in words: its name, or that of its output, and its type."""
    name = node.name or next(iter(node.output), "")
    domain = f"{node.domain}." if node.domain else ""
    return f"node {name or 'without a name'} ({domain}{node.op_type})"
