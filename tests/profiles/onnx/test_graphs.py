import time

import numpy as np
import onnx
import pytest

from nascli.errors import SpaceError
from nascli.profiles.onnx.graphs import onnx_bytes, onnx_model
from nascli.profiles.onnx.random_arrays import random_array
from nascli.spaces import make_space
from nascli.spaces.operators.basic import identity
from nascli.spaces.operators.definition import conv
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.registry import operator


def test_every_operator_of_the_space_is_a_valid_model():
    for op in make_space("proxyless-mini").operators():
        if op.program.output:
            model = onnx_model(op.program, 16)
            onnx.checker.check_model(model, full_check=True)
            (given,) = model.graph.output
            sizes = [d.dim_value for d in given.type.tensor_type.shape.dim]
            assert sizes[:2] == [16, op.output.channels]


def test_versions_are_explicit():
    model = onnx_model(mbconv((8, 4, 4), 8).program, 1)
    assert (model.ir_version, model.opset_import[0].version) == (10, 20)


def test_writing_a_graph_takes_under_two_milliseconds():
    programs = [o.program for o in make_space("proxyless-mini").operators() if o.program.output]
    onnx_bytes(programs[0], 16)
    times = []
    for _ in range(3):
        start = time.process_time()
        for program in programs:
            onnx_bytes(program, 16)
        times.append((time.process_time() - start) / len(programs))
    assert min(times) < 2e-3


def test_drawn_weights_are_never_zero_and_repeat():
    drawn = random_array((300, 1000), 0.1, 5)
    assert np.all(drawn != 0) and drawn.std() == pytest.approx(0.1, rel=0.05)
    assert np.array_equal(drawn, random_array((300, 1000), 0.1, 5))


def test_what_has_no_graph_says_so():
    with pytest.raises(SpaceError, match="costs nothing"):
        onnx_model(identity((8, 4, 4)).program, 1)
    with pytest.raises(SpaceError, match="batch must be at least 1"):
        onnx_model(mbconv((8, 4, 4), 8).program, 0)

    @operator
    def two_bits(x):
        """A quantised convolution."""
        return conv(x, 8, 3, weight_bits=2, activation_bits=2)

    with pytest.raises(SpaceError, match="has no ONNX form"):
        onnx_model(two_bits((8, 4, 4)).program, 1)


def test_weights_must_be_all_there_and_of_the_right_shape():
    program = mbconv((8, 4, 4), 8).program
    with pytest.raises(SpaceError, match=r"weights lack 'n1.weight'"):
        onnx_model(program, 1, {})
    with pytest.raises(SpaceError, match="must have shape"):
        onnx_model(program, 1, {"n1.weight": np.zeros((1, 1, 1, 1), np.float32)})
