"""Small ONNX models for tests."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.tidying import tidy

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, constants=None, *, opset=20, batch=None):
    """A model from node tuples (type, inputs, outputs, attributes), shapes by name, and arrays by name."""
    graph = helper.make_graph(
        [helper.make_node(n[0], list(n[1]), list(n[2]), **(n[3] if len(n) > 3 else {})) for n in nodes],
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(proto)
    return OnnxModel("small", tidy(proto), batch or next(iter(inputs.values()))[0])


def weight(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def attention_block(rename="", reverse=False, seed=0, features=8, tokens=6):
    """A residual block of tokens: layer normalisation, a product, softmax, and the input added."""
    r = rename
    nodes = [
        ("LayerNormalization", ["x", f"{r}scale", f"{r}shift"], [f"{r}n"], {"axis": -1}),
        ("MatMul", [f"{r}n", f"{r}w"], [f"{r}q"]),
        ("Transpose", [f"{r}n"], [f"{r}t"], {"perm": [0, 2, 1]}),
        ("MatMul", [f"{r}q", f"{r}t"], [f"{r}s"]),
        ("Softmax", [f"{r}s"], [f"{r}p"], {"axis": -1}),
        ("MatMul", [f"{r}p", f"{r}n"], [f"{r}o"]),
        ("Add", ["x", f"{r}o"], ["y"]),
    ]
    if reverse:
        nodes[1], nodes[2] = nodes[2], nodes[1]
    shape = (2, tokens, features)
    constants = {
        f"{r}scale": weight(features, seed=seed),
        f"{r}shift": weight(features, seed=seed + 1),
        f"{r}w": weight(features, features, seed=seed + 2),
    }
    return model_of(nodes, {"x": shape}, {"y": shape}, constants)
