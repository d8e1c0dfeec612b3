import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, floats, model, saved, transformer_weights

from nascli.commands.hints import error_as_text
from nascli.errors import ArchitectureError
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.running import run_model
from nascli.spaces.opaque_graphs import TensorType

RELU = "g (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }"


def test_a_file_with_static_shapes(tmp_path):
    read = load_model(saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights()))
    assert (read.name, read.batch, read.opset) == ("vit", 1, {"": 20})
    assert read.inputs == (("x", TensorType("float32", (1, 3, 8, 8))),)
    assert read.outputs == (("y", TensorType("float32", (1, 5))),)
    assert read.types["scores"] == TensorType("float32", (1, 2, 5, 5)) and read.macs == TRANSFORMER_MACS
    assert read.types["conv"] == TensorType("float32", (6, 3, 4, 4)) and set(read.initializers) == set(
        transformer_weights()
    )
    assert run_model(read.data)["y"].shape == (1, 5)


def test_the_batch_of_open_first_sizes(tmp_path):
    text = "g (float[N,3] x, float[M,3] other) => (float[N,3] y) { y = Add(x, other) }"
    path = saved(tmp_path / "m.onnx", text)
    assert load_model(path).batch == 1 and load_model(path, default_batch=7).batch == 7
    read = load_model(path, batch=5)
    assert [kind.dims for _, kind in (*read.inputs, *read.outputs)] == [(5, 3)] * 3
    # One input is fixed, so the other is, too.
    fixed = saved(tmp_path / "f.onnx", text.replace("float[N,3] x", "float[2,3] x"))
    assert load_model(fixed).inputs[1][1].dims == (2, 3)
    assert load_model(fixed, batch=4).inputs[1][1].dims == (4, 3)


def test_open_sizes_must_be_given(tmp_path):
    path = saved(tmp_path / "m.onnx", RELU)
    with pytest.raises(ArchitectureError, match="'x' leaves sizes open: Nx3xHxW") as caught:
        load_model(path, batch=2)
    assert "--shape x=2x3x224x224" in error_as_text(caught.value)
    read = load_model(path, shapes={"x": (2, 3, 8, 9)})
    assert read.batch == 2 and read.outputs[0][1].dims == (2, 3, 8, 9)
    for shape, message in (((2, 4, 8, 8), "Nx3xHxW, which is not 2x4x8x8"), ((2, 3), "which is not 2x3")):
        with pytest.raises(ArchitectureError, match=message):
            load_model(path, shapes={"x": shape})
    with pytest.raises(ArchitectureError, match="no input 'z'.*\nIts inputs are x"):
        load_model(path, shapes={"z": (1,)})
    with pytest.raises(ArchitectureError, match="the given shapes have 2 samples, and 3 are wanted"):
        load_model(path, shapes={"x": (2, 3, 8, 8)}, batch=3)


def test_a_name_has_one_size(tmp_path):
    text = "g (float[N,T] a, float[N,T] b) => (float[N,T] y) { y = Add(a, b) }"
    path = saved(tmp_path / "m.onnx", text)
    assert load_model(path, shapes={"a": (2, 9)}).inputs[1][1].dims == (2, 9)
    with pytest.raises(ArchitectureError, match="'b' of the model is NxT, which is not 2x8"):
        load_model(path, shapes={"a": (2, 9), "b": (2, 8)})


def test_an_input_without_a_rank(tmp_path):
    made = model(RELU)
    made.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(ArchitectureError, match="does not say how many sizes input 'x' has"):
        load_model(tmp_path / "m.onnx")
    assert load_model(tmp_path / "m.onnx", shapes={"x": (1, 2)}).outputs[0][1].dims == (1, 2)


def test_scalars_constants_and_inputs_with_defaults(tmp_path):
    text = """g (float s, float[1] w) => (float y) {
        c = Constant <value_float = 2.0> ()
        t = Mul(s, c)
        z = Mul(t, w)
        y = Squeeze(z)
    }"""
    read = load_model(saved(tmp_path / "m.onnx", text, {"w": np.ones(1, np.float32)}))
    assert read.inputs == (("s", TensorType("float32", ())),) and read.batch == 1
    assert set(read.initializers) == {"c", "w"}
    assert [node.op_type for node in read.proto.graph.node] == ["Mul", "Mul", "Squeeze"]


def test_types_behind_operators_that_onnx_does_not_know_come_from_a_run(tmp_path, monkeypatch):
    text = """g (float[2,4] x, float[2,4] b) => (float[2,3] y) {
        h = com.microsoft.BiasGelu (x, bias)
        y = MatMul (h, w)
    }""".replace(", float[2,4] b", "")
    path = saved(
        tmp_path / "m.onnx", text, {"bias": floats(4), "w": floats(4, 3)}, more=', "com.microsoft" : 1'
    )
    read = load_model(path)
    assert read.types["h"] == TensorType("float32", (2, 4)) and read.macs == 24
    monkeypatch.setattr("nascli.profiles.onnx.value_types._MAX_FED_SIZE", 1)
    assert "h" not in load_model(path).types
    monkeypatch.undo()
    unknown = saved(
        tmp_path / "u.onnx", text.replace("com.microsoft.BiasGelu", "mine.Op"), {"bias": floats(4), "w": floats(4, 3)},
        more=', "mine" : 1',
    )  # fmt: skip
    assert "h" not in load_model(unknown).types


def test_functions_are_inlined_and_nodes_are_sorted(tmp_path):
    text = """agraph (float[1,3] x) => (float[1,3] y) { y = local.twice (x) }
    <domain: "local", opset_import: ["" : 20]> twice (a) => (b) { b = Add (a, a) }"""
    read = load_model(saved(tmp_path / "m.onnx", text, more=', "local" : 1'))
    assert [node.op_type for node in read.proto.graph.node] == ["Add"]
    made = model("g (float[1,3] x) => (float[1,3] y) { h = Relu(x)\n y = Abs(h) }")
    made.graph.node.reverse()
    onnx.save(made, tmp_path / "r.onnx")
    assert [node.op_type for node in load_model(tmp_path / "r.onnx").proto.graph.node] == ["Relu", "Abs"]


def test_sparse_constants_become_dense(tmp_path):
    made = model("g (float[2,3] x) => (float[2,3] y) { y = Add(x, s) }")
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.0, 2.0])
    for indices in (
        helper.make_tensor("i", TensorProto.INT64, [2], [0, 5]),
        helper.make_tensor("i", TensorProto.INT64, [2, 2], [0, 0, 1, 2]),
    ):
        del made.graph.sparse_initializer[:]
        made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3]))
        onnx.save(made, tmp_path / "m.onnx")
        dense = onnx.numpy_helper.to_array(load_model(tmp_path / "m.onnx").initializers["s"])
        assert dense.tolist() == [[1, 0, 0], [0, 0, 2]]
    made.graph.sparse_initializer[0].dims[0] = 1 << 40
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(ArchitectureError, match="impossible sizes"):
        load_model(tmp_path / "m.onnx")


BAD_GRAPHS = {
    "reads 'z', which nothing computes": "g (float[1] x) => (float[1] y) { y = Add(x, z) }",
    "computed twice": "g (float[1] x) => (float[1] y) { y = Relu(x)\n y = Abs(x) }",
    "in a circle": "g (float[1] x) => (float[1] y) { y = Add(x, z)\n z = Relu(y) }",
    "it has no nodes": "g (float[1] x) => (float[1] x) { }",
    "has no inputs": "g () => (float[1] y) { y = Constant <value_floats = [1.0]> () }",
    "has the type sequence": "g (seq(float[1]) x) => (float[1] y) { z = Constant <value_int = 0> ()\n y = SequenceAt(x, z) }",
    "has the type optional": "g (optional(float[1]) x) => (float[1] y) { y = OptionalGetElement(x) }",
    "'x' has no elements: 0x3": "g (float[0,3] x) => (float[0,3] y) { y = Relu(x) }",
}


@pytest.mark.parametrize("message", BAD_GRAPHS)
def test_graphs_that_cannot_be_used(tmp_path, message):
    path = saved(tmp_path / "m.onnx", BAD_GRAPHS[message])
    with pytest.raises(ArchitectureError, match=message) as caught:
        load_model(path)
    assert str(path) in caught.value.message and len(error_as_text(caught.value).splitlines()) <= 2


def test_damaged_files(tmp_path):
    whole = saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights()).read_bytes()
    path = tmp_path / "d.onnx"
    for data in (b"", b"nothing", whole[: len(whole) // 2], whole[:-1], b"\x08\x0a"):
        path.write_bytes(data)
        with pytest.raises(ArchitectureError, match="cannot read .*d.onnx as ONNX"):
            load_model(path)
    for place in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(ArchitectureError, match="no such file"):
            load_model(place)


def test_damaged_tensors(tmp_path):
    path = tmp_path / "m.onnx"

    def with_weight(tensor):
        made = model("g (float[1,3] x) => (float[1,3] y) { y = Add(x, w) }")
        made.graph.initializer.append(tensor)
        onnx.save(made, path)
        return path

    short = onnx.TensorProto(name="w", data_type=1, dims=[3], raw_data=b"\0" * 8)
    with pytest.raises(ArchitectureError, match=r"'w' is damaged: float32\[3\] has 12 bytes, got 8"):
        load_model(with_weight(short))
    with pytest.raises(ArchitectureError, match="'w' is damaged"):
        load_model(with_weight(onnx.TensorProto(name="w", data_type=1, dims=[3], float_data=[1.0])))
    with pytest.raises(ArchitectureError, match="'w' has the unknown element type 99"):
        load_model(with_weight(onnx.TensorProto(name="w", data_type=99, dims=[3])))
    with pytest.raises(ArchitectureError, match="'w' has impossible sizes"):
        load_model(with_weight(onnx.TensorProto(name="w", data_type=1, dims=[-3])))
    made = model("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }")
    made.graph.input[0].type.tensor_type.elem_type = 99
    onnx.save(made, path)
    with pytest.raises(ArchitectureError, match="'x' has the unknown element type 99"):
        load_model(path)


def test_versions_that_the_installed_onnx_does_not_know(tmp_path):
    with pytest.raises(ArchitectureError, match="the file format has version 999, .* knows versions up to"):
        load_model(saved(tmp_path / "m.onnx", RELU, ir=999))
    with pytest.raises(ArchitectureError, match="the set of operators has version 999"):
        load_model(saved(tmp_path / "m.onnx", RELU, opset=999))


def test_a_file_of_more_than_2_gb(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 5)
    with pytest.raises(
        ArchitectureError,
        match=r"it has 2.15 GB, and the format of ONNX files ends at 2.15 GB.\n.*external data",
    ):
        load_model(path)


@pytest.fixture
def outside(tmp_path):
    """A model whose weights lie in a file beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    made = model("g (float[1,64] x) => (float[1,64] y) { y = MatMul(x, w) }", {"w": floats(64, 64)})
    onnx.save(made, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    return folder / "m.onnx"


def moved(path, location, **entries):
    made = onnx.load(path, load_external_data=False)
    (tensor,) = made.graph.initializer
    known = {entry.key: entry.value for entry in tensor.external_data} | {"location": location} | entries
    del tensor.external_data[:]
    for key, value in known.items():
        tensor.external_data.add(key=key, value=str(value))
    onnx.save(made, path)
    return path


def test_external_data_is_read(outside):
    assert run_model(load_model(outside).data)["y"].shape == (1, 64)
    assert np.array_equal(onnx.numpy_helper.to_array(load_model(outside).initializers["w"]), floats(64, 64))
    (outside.parent / "m.data").unlink()
    assert load_model(outside, weights=False).macs == 64 * 64
    with pytest.raises(ArchitectureError, match="external data 'm.data' is missing"):
        load_model(outside)


@pytest.mark.parametrize(
    "location", ["../m.data", "/etc/passwd", "C:\\m.data", "a/../../m.data", "..\\m.data"]
)
def test_external_data_outside_of_the_folder_is_refused(outside, location):
    (outside.parent.parent / "m.data").write_bytes(b"\0" * 16384)
    for weights in (True, False):
        with pytest.raises(ArchitectureError, match="'w' lies outside of the model's folder"):
            load_model(moved(outside, location), weights=weights)


def test_external_data_behind_a_link_is_refused(outside):
    secret = outside.parent.parent / "secret"
    secret.write_bytes(b"\0" * 16384)
    os.symlink(secret, outside.parent / "link")
    with pytest.raises(ArchitectureError, match="is a link to .*secret"):
        load_model(moved(outside, "link"))
    os.symlink(outside.parent.parent, outside.parent / "folder")
    with pytest.raises(ArchitectureError, match="is a link"):
        load_model(moved(outside, "folder/secret"))


def test_external_data_that_is_damaged(outside):
    for entries, message in (
        ({"offset": 8}, "ends early: 16384 bytes are wanted at 8, and m.data has 16376"),
        ({"offset": -1}, "has 16384 bytes, got 16384 at -1"),
        ({"length": 4}, "has 16384 bytes, got 4"),
        ({"length": "many"}, "must be integers"),
    ):
        with pytest.raises(ArchitectureError, match=message):
            load_model(moved(outside, "m.data", **{"offset": 0, "length": 16384} | entries))
    with pytest.raises(ArchitectureError, match="has no location"):
        load_model(moved(outside, ""))


def test_external_data_that_is_larger_than_memory(outside, monkeypatch):
    monkeypatch.setattr("nascli.profiles.onnx.external_data.available_memory", lambda: 1000)
    with pytest.raises(ArchitectureError, match="external data has 0.0 GB, and 0.0 GB of memory"):
        load_model(outside)


def test_a_model_that_no_message_can_hold(tmp_path, monkeypatch):
    monkeypatch.setattr("nascli.profiles.onnx.model.MAX_MESSAGE_BYTES", 100)
    read = load_model(saved(tmp_path / "m.onnx", TRANSFORMER, transformer_weights()))
    with pytest.raises(ArchitectureError, match="GB with its weights"):
        _ = read.data
