import numpy as np
import onnx
import pytest
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, floats, saved, transformer_weights

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.running import run_model


def test_a_transformer_that_was_exported_at_one_image(tmp_path):
    path = saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights())
    read = load_model(path, batch=3)
    assert read.batch == 3 and read.outputs[0][1].dims == (3, 5) and read.macs == 3 * TRANSFORMER_MACS
    assert read.types["weights"].dims == (3, 2, 5, 5)
    images = floats(3, 3, 8, 8, seed=9)
    single = load_model(path).data
    alone = [run_model(single, {"x": images[i : i + 1]})["y"][0] for i in range(3)]
    np.testing.assert_allclose(run_model(read.data, {"x": images})["y"], alone, rtol=1e-4, atol=1e-5)
    # And back to one: the class token, which was repeated, is cut again.
    onnx.save(read.proto, tmp_path / "three.onnx")
    assert load_model(tmp_path / "three.onnx", batch=1).macs == TRANSFORMER_MACS


CASES = {
    # Windows: the batch is a part of the first size, as in Swin.
    "windows": ("float[1,4,4,2]", "float[1,32]", """
        a = Reshape (x, to_windows)
        b = Transpose <perm = [0, 2, 1, 3, 4]> (a)
        c = Reshape (b, to_batch)
        d = Add (c, bias)
        y0 = Reshape (d, back)
        y = Flatten <axis = 1> (y0)
    """, {"to_windows": [1, 2, 2, 4, 2], "to_batch": [2, 16], "bias": floats(2, 16), "back": [1, 2, 16]}),
    "an expanded constant": ("float[1,3]", "float[1,6]", """
        e = Expand (x, wide)
        y = Concat <axis = 1> (e, token)
    """, {"wide": [1, 3], "token": floats(1, 3)}),
    "sizes of a resize": ("float[1,1,2,2]", "float[1,1,4,4]", "y = Resize <mode = \"nearest\"> (x, , , sizes)",
        {"sizes": [1, 1, 4, 4]}),
    "a flat value that indices are taken from": ("float[1,2,3]", "float[1,2]", """
        flat = Reshape (x, minus_one)
        y = Gather (flat, indices)
    """, {"minus_one": [-1], "indices": np.array([[5, -6]])}),
    "a recurrent layer": ("float[1,4,3]", "float[1,8]", """
        t = Transpose <perm = [1, 0, 2]> (x)
        h, last = GRU <hidden_size = 2> (t, w, r, , , state)
        u = Squeeze (h, one)
        v = Transpose <perm = [1, 0, 2]> (u)
        y = Reshape (v, flat)
    """, {"w": floats(1, 6, 3), "r": floats(1, 6, 2), "state": floats(1, 1, 2), "one": [1], "flat": [1, 8]}),
    "encodings of positions, which are computed once": ("float[1,3,2]", "float[1,3,2]", """
        e = MatMul (places, weight)
        y = Add (x, e)
    """, {"places": floats(3, 4), "weight": floats(4, 2)}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_has_to_change(tmp_path, case):
    source, target, nodes, weights = CASES[case]
    path = saved(
        tmp_path / "m.onnx", f"g ({source} x) => ({target} y) {{ {nodes} }}", {k: np.asarray(v) for k, v in weights.items()}
    )  # fmt: skip
    read = load_model(path, batch=4)
    assert read.outputs[0][1].dims[0] == 4
    images = floats(*read.inputs[0][1].dims, seed=9)
    single = load_model(path).data
    alone = [run_model(single, {"x": images[i : i + 1]})["y"][0] for i in range(4)]
    np.testing.assert_allclose(run_model(read.data, {"x": images})["y"], alone, rtol=1e-4, atol=1e-5)


def test_a_constant_with_rows_for_each_sample(tmp_path):
    text = "g (float[2,3] x) => (float[2,3] y) { y = Add(x, c) }"
    same = saved(tmp_path / "m.onnx", text, {"c": np.repeat(floats(1, 3), 2, axis=0)})
    assert load_model(same, batch=6).initializers
    assert load_model(same, batch=1).outputs[0][1].dims == (1, 3)
    own = saved(tmp_path / "o.onnx", text, {"c": floats(2, 3)})
    with pytest.raises(ArchitectureError, match="has a constant of its own for each sample"):
        load_model(own, batch=1)


REFUSED = {
    "depend on the others": "y = Softmax <axis = 0> (x)",
    "would become float32": "m = ReduceMean (x, zero) y = Expand (m, wide)",
    "takes certain samples": "f = Reshape (x, flat) r = Gather (f, scalar) w = Expand (r, wide) y = Mul (x, w)",
    "would become": "s = ReduceSum (x) y = Expand (s, wide)",
    "has graphs of its own": """ y = If (yes) <
        then_branch = a () => (float[1,3] r) { r = Relu (x) }, else_branch = b () => (float[1,3] s) { s = Abs (x) }> """,
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_rewritten_is_told(tmp_path, message):
    text = f"g (float[1,3] x, bool yes) => (float[1,3] y) {{ {REFUSED[message]} }}"
    if "If" not in text:
        text = text.replace(", bool yes", "")
    weights = {"zero": np.array([0]), "wide": np.array([1, 3]), "flat": np.array([3]), "scalar": np.array(1)}
    path = saved(tmp_path / "m.onnx", text, weights)
    with pytest.raises(
        ArchitectureError, match="is fixed at batch 1, and cannot be rewritten for batch 4: .*"
    ) as caught:
        load_model(path, batch=4)
    assert message in caught.value.message and caught.value.remedies[0].arguments == {"batch": 1}


def test_batches_that_are_no_multiples(tmp_path):
    path = saved(tmp_path / "m.onnx", "g (float[4,3] x) => (float[4,3] y) { y = Relu(x) }")
    with pytest.raises(ArchitectureError, match="neither batch is a multiple of the other"):
        load_model(path, batch=6)


def test_without_a_runtime_shapes_and_macs_decide(tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.profiles.onnx.rebatching.can_run", lambda: False)
    path = saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights())
    assert load_model(path, batch=2).macs == 2 * TRANSFORMER_MACS


def test_large_models_are_compared_at_two_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.profiles.onnx.rebatching._MAX_MACS_RUN", 1)
    seen = []

    def watched(data, inputs):
        seen.append(inputs["x"].shape[0])
        return run_model(data, inputs)

    monkeypatch.setattr("nascli.profiles.onnx.rebatching.run_model", watched)
    path = saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights())
    assert load_model(path, batch=64).batch == 64 and seen == [2, 1, 1]
