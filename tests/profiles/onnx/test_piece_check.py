"""Pieces of a model, put together again."""

import numpy as np
import onnx
import pytest
from small_onnx import model_of, weight

from nascli.errors import ArchitectureError
from nascli.profiles.onnx import piece_check
from nascli.profiles.onnx.piece_check import check_pieces
from nascli.profiles.onnx.running import relative_difference


def network():
    """Primitives, a piece of ONNX with weights whose order matters, and a classifier."""
    nodes = [
        ("Conv", ["x", "k"], ["c"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Reshape", ["c", "to_tokens"], ["t"]),
        ("Transpose", ["t"], ["u"], {"perm": [0, 2, 1]}),
        ("MatMul", ["u", "w"], ["m"]),
        ("Softmax", ["m"], ["s"], {"axis": 1}),
        ("MatMul", ["s", "v"], ["n"]),
        ("Sub", ["n", "u"], ["a"]),
        ("ReduceMean", ["a", "axis"], ["r"], {"keepdims": 0}),
        ("Gemm", ["r", "h"], ["y"]),
    ]
    constants = {
        "k": weight(6, 3, 2, 2),
        "to_tokens": np.array([1, 6, 16]),
        "w": weight(6, 6, seed=1),
        "v": weight(6, 6, seed=2),
        "axis": np.array([1]),
        "h": weight(6, 10),
    }
    return model_of(nodes, {"x": (1, 3, 8, 8)}, {"y": (1, 10)}, constants)


def test_pieces_compute_what_the_file_computes():
    check = check_pieces(network())
    assert check.pieces >= 2 and 1 <= check.opaque < check.pieces
    assert 0 <= check.difference < 1e-5


def test_a_second_input_and_a_second_output():
    nodes = [
        ("Conv", ["x", "k"], ["c"], {"kernel_shape": [1, 1]}),
        ("Einsum", ["c", "z"], ["e"], {"equation": "bchw,bc->bchw"}),
        ("ReduceSum", ["e", "axes"], ["second"], {"keepdims": 0}),
        ("Relu", ["e"], ["y"]),
    ]
    constants = {"k": weight(4, 3, 1, 1), "axes": np.array([2, 3])}
    model = model_of(
        nodes, {"x": (1, 3, 4, 4), "z": (1, 4)}, {"second": (1, 4), "y": (1, 4, 4, 4)}, constants
    )
    assert check_pieces(model).difference < 1e-5


@pytest.mark.parametrize("opaque", [True, False])
def test_a_piece_that_computes_something_else_is_named(monkeypatch, opaque):
    """A weight of the piece is written wrongly."""
    write = piece_check.onnx_model

    def wrong(program, batch, weights=None):
        model = write(program, batch, weights)
        if (weights is None) == opaque:
            model.graph.node.append(onnx.helper.make_node("Neg", [model.graph.output[0].name], ["negative"]))
            model.graph.output[0].name = "negative"
        return model

    monkeypatch.setattr(piece_check, "onnx_model", wrong)
    with pytest.raises(ArchitectureError, match="computes something else than the file: '.*' differs by"):
        check_pieces(network())


def test_weights_in_another_order_are_found(monkeypatch):
    names = piece_check.weight_names
    monkeypatch.setattr(piece_check, "weight_names", lambda *arguments: names(*arguments)[::-1])
    with pytest.raises(ArchitectureError, match="computes something else"):
        check_pieces(network())


def test_relative_differences():
    wanted = np.array([1.0, -4.0])
    assert relative_difference(np.array([1.0, -3.0]), wanted) == 0.25
    assert relative_difference(np.array([np.inf, 1.0]), np.array([np.inf, 1.0])) == 0
    assert relative_difference(np.array([np.nan, 1.0]), np.array([np.nan, 1.0])) == 0
    assert relative_difference(np.array([1.0, 1.0]), np.array([np.inf, 1.0])) == np.inf
    assert relative_difference(np.array([1.0]), wanted) == np.inf
    assert relative_difference(np.array(["a"], dtype=object), np.array(["b"], dtype=object)) == np.inf
    assert relative_difference(np.zeros(2), np.zeros(2)) == 0
