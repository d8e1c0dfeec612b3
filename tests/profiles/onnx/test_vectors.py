"""Vectors and pieces of ONNX between primitives: what one gives, the next can read."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.helper import make_node

from nascli.profiles.onnx.graphs import onnx_model
from nascli.profiles.onnx.networks import read_onnx_network

WEIGHTS = {
    "w": np.ones((8, 8, 1, 1), np.float32),
    "m": np.ones((8, 5), np.float32),
    "s": np.ones(5, np.float32),
    "e": np.ones(8, np.float32),
}
HEAD = [
    make_node("Conv", ["x", "w"], ["c"]),
    make_node("GlobalAveragePool", ["c"], ["p"]),
    make_node("Flatten", ["p"], ["f"]),
]
CASES = {
    "a piece behind pooling": (
        [*HEAD, make_node("Softmax", ["f"], ["y"])], (1, 8), ["conv", "global_pool", "onnx"],
    ),
    "primitives behind a piece that gives a vector": (
        [
            *HEAD, make_node("Gemm", ["f", "m"], ["d"]), make_node("Softmax", ["d"], ["q"]),
            make_node("Relu", ["q"], ["r"]), make_node("LayerNormalization", ["r", "s"], ["y"], axis=-1),
        ],
        (1, 5), ["conv", "global_pool", "linear", "onnx", "act", "onnx"],
    ),
    "a vector that ends in normalisation": (
        [*HEAD, make_node("Gemm", ["f", "m"], ["d"]), make_node("LayerNormalization", ["d", "s"], ["y"], axis=-1)],
        (1, 5), ["conv", "global_pool", "dense", "layer_norm"],
    ),
    "a piece amid channels last": (
        [
            make_node("Conv", ["x", "w"], ["c"]), make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
            make_node("LayerNormalization", ["t", "e"], ["l"], axis=-1), make_node("Softmax", ["l"], ["q"]),
            make_node("Transpose", ["q"], ["y"], perm=[0, 3, 1, 2]),
        ],
        (1, 8, 4, 4), ["conv", "onnx"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_parts_make_up_one_valid_model(tmp_path, name):
    nodes, out, kinds = CASES[name]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, (1, 8, 4, 4))],
        [helper.make_tensor_value_info("y", 1, out)],
        [numpy_helper.from_array(values, key) for key, values in WEIGHTS.items()],
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    network = read_onnx_network(path)
    assert [node.primitive.kind for node in network.program.nodes] == kinds
    onnx.checker.check_model(onnx_model(network.program, 1), full_check=True)
