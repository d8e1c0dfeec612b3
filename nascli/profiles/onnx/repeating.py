"""A graph repeated inside of one model, each time with inputs and weights of its own.

What is computed between two uses of a weight is then as large as in a network, so that the weight has left the cache.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Each copy's weights are those of the first, rotated by this many elements a copy: runtimes merge equal constants.
_ROTATION = 1013
_MAX_FACTORS = 16
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def repeat_graph(graph: onnx.GraphProto, copies: int) -> onnx.GraphProto:
    """Return a graph that contains another several times.

    Args:
        graph: The graph, without subgraphs.
        copies: How many times.

    Returns:
        A graph whose inputs and outputs are those of all copies; the names of copy k begin with ``ck.``.
    """
    nodes, inputs, outputs, initializers = [], [], [], []
    for number in range(copies):
        prefix = f"c{number}."
        nodes += [_named_node(node, prefix) for node in graph.node]
        inputs += [_named(value, prefix) for value in graph.input]
        outputs += [_named(value, prefix) for value in graph.output]
        initializers += [_rotated(tensor, prefix, number) for tensor in graph.initializer]
    return helper.make_graph(nodes, graph.name, inputs, outputs, initializers)


def _named_node(node: onnx.NodeProto, prefix: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = prefix + node.name
    for field in (copy.input, copy.output):
        for position, name in enumerate(field):
            field[position] = prefix + name if name else name
    return copy


def _named(value: onnx.ValueInfoProto, prefix: str) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(value)
    copy.name = prefix + value.name
    return copy


def _rotated(tensor: onnx.TensorProto, prefix: str, number: int) -> onnx.TensorProto:
    copy = onnx.TensorProto()
    copy.CopyFrom(tensor)
    # Few numbers may be factors or sizes, whose values matter, and fill no cache.
    if number and tensor.data_type in _FLOATS and math.prod(tensor.dims) > _MAX_FACTORS:
        values = numpy_helper.to_array(tensor)
        copy.CopyFrom(numpy_helper.from_array(np.roll(values, number * _ROTATION)))
    copy.name = prefix + tensor.name
    return copy
