import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, floats, saved, transformer_weights

from nascli.errors import ArchitectureError
from nascli.lut import program_key
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.onnx.half_precision import half_precision
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.running import run_model
from nascli.profiles.onnx.whole_models import index_values, unknown_nodes, whole_program
from nascli.spaces.counts import count
from nascli.spaces.programs import Program

EMBEDDING = """g (int64[2,5] words, int32[2,5] places, int64[2,1] other, float[2,5,4] x) => (float[2,5,4] y) {
    w = Gather (table, words)
    p = Gather (small, places32)
    places32 = Unsqueeze (places, minus)
    p2 = Squeeze (p, two)
    h = Add (w, p2)
    shift = Cast <to = 1> (other)
    s = Unsqueeze (shift, minus)
    z = Add (h, s)
    y = Mul (z, x)
}"""
TABLES = {"table": floats(100, 4), "small": floats(7, 4), "minus": np.array([-1]), "two": np.array([2])}


def test_a_model_is_one_piece_whose_key_depends_on_no_names_and_no_weights(tmp_path):
    read = load_model(saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights()))
    program = whole_program(read)
    assert Program.from_canonical(program.canonical) == program and count(program).macs == TRANSFORMER_MACS
    others = {k: v if v.dtype == np.int64 else v * 2 for k, v in transformer_weights().items()}
    renamed = saved(tmp_path / "o.onnx", TRANSFORMER.replace("scores", "points"), others)
    assert program_key(whole_program(load_model(renamed))) == program_key(program)
    four = load_model(saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights()), batch=4)
    assert program_key(whole_program(four)) != program_key(program)
    assert count(whole_program(four)).macs == TRANSFORMER_MACS
    # What is written from the program has the same inputs and outputs.
    assert run_model(onnx_bytes(program, 1))["output"].shape == (1, 5)


def test_a_model_in_half_precision_is_written_in_it(tmp_path):
    text = "g (float16[1,4] x) => (float16[1,3] y) { y = MatMul (x, w) }"
    read = load_model(saved(tmp_path / "m.onnx", text, {"w": floats(4, 3).astype(np.float16)}))
    assert run_model(onnx_bytes(whole_program(read), 1))["output"].dtype == np.float16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct (x) }", "output 'y' cannot be inferred, or it is no"),
        ("g (float[2] x) => (float[0] y) { y = Slice (x, two, two) }", r"float32\[0\] has no elements"),
        ("g (float[2] x) => (float[2] x) { z = Relu (x) }", "output 0 of an opaque operator does not exist"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_kept(tmp_path, text, message):
    read = load_model(saved(tmp_path / "m.onnx", text, {"two": np.array([2])}))
    with pytest.raises(ArchitectureError, match=message):
        whole_program(read)


def test_integers_that_index_a_table_lie_within_it(tmp_path):
    read = load_model(saved(tmp_path / "m.onnx", EMBEDDING, TABLES))
    values = index_values(read)
    assert set(values) == {"words", "places"}
    assert values["words"].dtype == np.int64 and 1 < values["words"].max() < 100
    assert values["places"].dtype == np.int32 and values["places"].max() < 7
    assert run_model(read.data, values)["y"].shape == (2, 5, 4)
    assert np.array_equal(values["words"], index_values(read)["words"])


def test_nodes_that_onnx_does_not_define(tmp_path):
    text = """g (float[2] x) => (float[2] y) { h = mine.Own (x) y = Relu (h) }"""
    read = load_model(saved(tmp_path / "m.onnx", text, more=', "mine" : 1'))
    assert list(unknown_nodes(read)) == ["node h (mine.Own)"]


def test_half_precision_of_somebody_elses_model(tmp_path):
    text = """g (float[1,2,4,4] x, int64[1] n) => (float[1,2,8,8] y) {
        h = Conv <pads = [1, 1, 1, 1]> (x, w)
        f = Cast <to = 1> (n)
        fill = ConstantOfShape <value = float[1] {2.0}> (ones)
        s = Add (f, fill)
        g = Mul (h, s)
        y = Resize <mode = "nearest"> (g, , scales)
    }"""
    weights = {"w": floats(2, 2, 3, 3), "ones": np.array([1]), "scales": np.array([1, 1, 2, 2], np.float32)}
    read = load_model(saved(tmp_path / "m.onnx", text, weights))
    data = half_precision(read)
    tensors = {t.name: t.data_type for t in onnx.load_from_string(data).graph.initializer}
    assert tensors == {"w": 10, "ones": 7, "scales": 1}
    inputs = {"x": floats(1, 2, 4, 4), "n": np.array([3])}
    wanted = run_model(read.data, inputs)["y"]
    got = run_model(data, inputs | {"x": inputs["x"].astype(np.float16)})["y"]
    assert got.dtype == np.float16
    np.testing.assert_allclose(got.astype(np.float32), wanted, atol=0.02)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("q = QuantizeLinear (x, s) y = DequantizeLinear (q, s)", "has no form in fp16"),
        ("r = Add (x, sizes) y = Resize (r, , sizes)", "'sizes' must stay fp32 for a Resize"),
        ("""y = If (c) < then_branch = a () => (float[1,1,2,2] p) { p = Relu (x) },
            else_branch = b () => (float[1,1,2,2] q) { q = Abs (x) } >""", "has graphs of its own"),
    ],
)  # fmt: skip
def test_what_has_no_form_in_half_precision(tmp_path, nodes, message):
    text = f"g (float[1,1,2,2] x) => (float[1,1,2,2] y) {{ {nodes} }}"
    weights = {"s": np.float32(1), "sizes": np.ones(4, np.float32), "c": np.array(True)}
    if "sizes" in nodes:
        weights["sizes"] = np.ones(4, np.float32)
        text = text.replace("[1,1,2,2]", "[1,1,1,4]")
    with pytest.raises(ArchitectureError, match=message):
        half_precision(load_model(saved(tmp_path / "m.onnx", text, weights)))


def test_constants_keep_their_values_and_weights_do_not(tmp_path):
    read = load_model(saved(tmp_path / "m.onnx", EMBEDDING, TABLES))
    wider = TABLES | {"table": floats(200, 4)}
    other = load_model(saved(tmp_path / "o.onnx", EMBEDDING, wider))
    assert program_key(whole_program(read)) != program_key(whole_program(other))
    assert numpy_helper.to_array(read.initializers["two"]).tolist() == [2]
