from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, saved, transformer_weights

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.graphs import onnx_model
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.spaces import count
from nascli.spaces.operators.basic import head
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.reference_networks import reference_network


@pytest.mark.parametrize("batch", [1, 4])
def test_our_own_graphs_count_as_their_programs_do(tmp_path, batch):
    for op in (mbconv((8, 6, 6), 12, kernel=5, stride=2), head((8, 4, 4), 10, features=16)):
        path = tmp_path / "m.onnx"
        onnx.save(onnx_model(op.program, batch), path)
        macs, params, _ = count_onnx(path)
        assert macs == count(op.program).macs
        assert params == count(op.program).weight_bytes // 4


def test_a_whole_network(tmp_path):
    onnx.save(onnx_model(reference_network("shufflenetv2-0.5").program, 1), tmp_path / "m.onnx")
    macs, _, unknown = count_onnx(tmp_path / "m.onnx")
    assert macs == 40_476_448 and "MaxPool" in unknown


def test_what_cannot_be_counted_says_so(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(ArchitectureError, match="cannot read"):
        count_onnx(path)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "y"], ["z"])],
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["a", "b"]) for n in "xy"],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["a", "c"])],
    )
    onnx.save(helper.make_model(graph), path)
    with pytest.raises(ArchitectureError, match="cannot be inferred"):
        count_onnx(path)


def test_a_transformer_with_open_sizes_and_a_fixed_batch(tmp_path):
    weights = transformer_weights()
    floats = sum(array.size for array in weights.values() if array.dtype == "float32")
    macs, params, unknown = count_onnx(saved(tmp_path / "m.onnx", TRANSFORMER, weights))
    assert (macs, params) == (TRANSFORMER_MACS, floats) and {"Softmax", "Transpose"} <= set(unknown)
    text = "g (float[N,T] x) => (float[N,U] y) { y = MatMul (x, w) }"
    path = saved(tmp_path / "o.onnx", text, {"w": weights["in_weight"]})
    with pytest.raises(ArchitectureError, match="cannot be inferred"):
        count_onnx(path)
    assert count_onnx(path, {"x": (5, 6)})[0] == 6 * 18


def test_the_classics_that_onnx_ships():
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    # Their weights are computed, so that the files are small.
    macs, params, _ = count_onnx(light / "light_squeezenet.onnx")
    assert (macs, params) == (349_151_936, 1_235_496)
