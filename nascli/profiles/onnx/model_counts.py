"""Counting an ONNX file that nascli did not write."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx

from nascli.errors import ArchitectureError

Shape = tuple[int, ...]


def count_onnx(path: Path) -> tuple[int, int, list[str]]:
    """Count the MACs and parameters of an ONNX model.

    The MACs of Conv, Gemm, and MatMul are counted. The first dimension of the first input is taken as the batch.

    Args:
        path: The file; weights in external files are not needed.

    Returns:
        The MACs for one image, the number of parameters, and the sorted types of all other nodes.

    Raises:
        ArchitectureError: The file cannot be read, or a shape cannot be inferred.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False)
    except Exception as error:
        raise ArchitectureError(f"cannot read {path} as ONNX: {error}") from error
    graph = inferred.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    floats = {t.name for t in graph.initializer if t.data_type in (1, 10, 11, 16)}
    shapes: dict[str, Shape] = dict(weights)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
        shapes.setdefault(value.name, tuple(dims))
    inputs = [value.name for value in graph.input if value.name not in weights]
    batch = shapes[inputs[0]][0] if inputs and shapes[inputs[0]] else 0
    macs, uncounted = 0, set()
    for node in graph.node:
        if node.op_type == "Conv":
            macs += _product(path, node, shapes, batch, weights.get(node.input[1], ())[1:])
        elif node.op_type in ("Gemm", "MatMul"):
            macs += _product(path, node, shapes, batch, (_inner(node, shapes),))
        else:
            uncounted.add(node.op_type)
    params = sum(math.prod(weights[name]) for name in floats if _is_parameter(graph, name))
    return macs, params, sorted(uncounted)


def _is_parameter(graph: onnx.GraphProto, name: str) -> bool:
    kinds = {node.op_type for node in graph.node if name in node.input}
    return bool(kinds & {"Conv", "Gemm", "MatMul", "BatchNormalization", "Add", "PRelu"})


def _inner(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """Return the length of the dimension over which a matrix product sums; 0 if unknown."""
    shape = shapes.get(node.input[0], ())
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return shape[0 if transposed else -1] if shape else 0


def _product(path: Path, node: onnx.NodeProto, shapes: dict[str, Shape], batch: int, per: Shape) -> int:
    """Return the MACs of a node for one image: the number of its outputs times the sizes in `per`."""
    output = shapes.get(node.output[0], ())
    sizes = output[1:] if batch == 0 else output
    if not output or not per or not all(sizes) or not all(per):
        raise ArchitectureError(
            f"{path}: the shape of {node.name or node.op_type} cannot be inferred, so it cannot be counted.",
            "Export the model with static shapes.",
        )
    return int(np.prod(sizes, dtype=np.int64) * np.prod(per, dtype=np.int64)) // max(1, batch)
