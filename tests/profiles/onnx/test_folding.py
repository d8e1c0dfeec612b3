import numpy as np
import onnx
import pytest
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, floats, saved, transformer_weights

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.running import run_model


def folded(path):
    """The folded model, whose outputs and MACs are shown to be those of the file."""
    before = load_model(path)
    after = fold_constants(before)
    assert after.macs == before.macs and after.batch == before.batch
    assert [name for name, _ in after.inputs] == [name for name, _ in before.inputs]
    assert after.outputs == before.outputs
    wanted = run_model(before.data)
    for name, value in run_model(after.data).items():
        np.testing.assert_allclose(value, wanted[name], rtol=1e-5, atol=1e-6)
    return after


def kinds(model):
    return [node.op_type for node in model.proto.graph.node]


def test_computations_of_shapes_become_constants(tmp_path):
    text = """g (float[2,3,4] x) => (float[2,12] y) {
        shape = Shape (x)
        first = Gather (shape, zero)
        rest = Constant <value_ints = [-1]> ()
        first1 = Unsqueeze (first, zero1)
        wanted = Concat <axis = 0> (first1, rest)
        ones = ConstantOfShape <value = int64[1] {1}> (two)
        scaled = Mul (wanted, ones)
        y = Reshape (x, scaled)
    }"""
    weights = {"zero": np.array(0), "zero1": np.array([0]), "two": np.array([2])}
    after = folded(saved(tmp_path / "m.onnx", text, weights))
    assert kinds(after) == ["Reshape"]
    (constant,) = after.initializers.values()
    assert onnx.numpy_helper.to_array(constant).tolist() == [2, -1]


def test_weights_that_are_computed_become_weights_and_products_stay(tmp_path):
    text = """g (float[1,4] x) => (float[1,4] y) {
        t = Transpose <perm = [1, 0]> (w)
        scaled = Mul (t, two)
        h = MatMul (x, scaled)
        table = MatMul (w, w)
        y = Add (h, row)
        row = Gather (table, zero)
    }"""
    weights = {"w": floats(4, 4), "two": np.float32(2), "zero": np.array(0)}
    after = folded(saved(tmp_path / "m.onnx", text, weights))
    # A product of constants stays a product, so that it is counted.
    assert sorted(kinds(after)) == ["Add", "Gather", "MatMul", "MatMul"] and after.macs == 16 + 64


def test_nothing_is_fused_and_what_is_unused_goes(tmp_path):
    weights = transformer_weights() | {"unused": floats(3)}
    after = folded(saved(tmp_path / "m.onnx", TRANSFORMER, weights))
    assert after.macs == TRANSFORMER_MACS and len(kinds(after)) == 20 and "unused" not in after.initializers


def test_operators_of_runtimes_and_quantised_weights_stay(tmp_path):
    text = """g (float[2,4] x) => (float[2,3] y) {
        h = com.microsoft.BiasGelu (x, bias)
        w = DequantizeLinear (w8, scale)
        y = MatMul (h, w)
    }"""
    weights = {"bias": floats(4), "w8": np.ones((4, 3), np.int8), "scale": np.float32(0.1)}
    after = folded(saved(tmp_path / "m.onnx", text, weights, more=', "com.microsoft" : 1'))
    assert kinds(after) == ["BiasGelu", "DequantizeLinear", "MatMul"]


def test_control_flow_stays(tmp_path):
    text = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <
            then_branch = a () => (float[2] r) { r = Relu (x) },
            else_branch = b () => (float[2] s) { two = Constant <value_float = 2.0> () s = Mul (x, two) }
        >
    }"""
    assert kinds(folded(saved(tmp_path / "m.onnx", text))) == ["If"]


def test_what_onnxscript_cannot_fold_is_told(tmp_path, monkeypatch):
    model = load_model(saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights()))

    def broken(*given, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("onnxscript.optimizer.fold_constants_ir", broken)
    with pytest.raises(ArchitectureError, match="constants of m cannot be folded: a bug"):
        fold_constants(model)
    monkeypatch.setattr("nascli.profiles.onnx.folding.MAX_MESSAGE_BYTES", 10)
    with pytest.raises(ArchitectureError, match="GB with its weights"):
        fold_constants(model)
