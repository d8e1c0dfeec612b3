import numpy as np
import onnx
import pytest
from onnx import helper
from small_onnx import model_of, weight

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.cuts import cut
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.networks import network_of
from nascli.profiles.onnx.running import run_model
from nascli.profiles.onnx.taking_apart import take_apart
from nascli.spaces.counts import count


def node(op, inputs, outputs):
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}")


def cuts_of(nodes, inputs=("x",), outputs=("y",)):
    return [
        ([n.op_type for n in s.nodes], s.source, s.output, s.inputs, s.outputs)
        for s in cut(nodes, inputs, outputs)
    ]


def test_a_chain_is_cut_at_every_value_and_a_branch_at_none():
    chain = [node("Relu", ["x"], ["a"]), node("Neg", ["a"], ["y"])]
    assert cuts_of(chain) == [(["Relu"], "x", "a", (), ()), (["Neg"], "a", "y", (), ())]
    branch = [
        node("Relu", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Abs", ["c"], ["y"]),
    ]
    assert [kinds for kinds, *_ in cuts_of(branch)] == [["Relu"], ["Neg", "Add"], ["Abs"]]
    over = [node("Relu", ["x"], ["a"]), node("Add", ["a", "x"], ["y"])]
    assert [kinds for kinds, *_ in cuts_of(over)] == [["Relu", "Add"]]


def test_other_outputs_leave_where_they_are_and_other_inputs_come_in_where_they_are_read():
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Neg", ["a"], ["early"]),
        node("Abs", ["a"], ["b"]),
        node("Add", ["b", "second"], ["y"]),
    ]
    found = cuts_of(nodes, ("x", "second"), ("early", "y"))
    assert found == [
        (["Relu"], "x", "a", (), ()),
        (["Neg", "Abs"], "a", "b", (), ("early",)),
        (["Add"], "b", "y", ("second",), ()),
    ]


def test_constants_go_where_they_are_needed_and_dead_nodes_nowhere():
    nodes = [
        node("Identity", ["w"], ["c"]),
        node("Add", ["x", "c"], ["a"]),
        node("Neg", ["a"], ["unused"]),
        node("Mul", ["a", "c"], ["y"]),
    ]
    assert [kinds for kinds, *_ in cuts_of(nodes)] == [["Identity", "Add"], ["Identity", "Mul"]]
    with pytest.raises(ArchitectureError, match="computes nothing from an input"):
        cuts_of([node("Identity", ["w"], ["y"])])


def small_network():
    """A convolution, tokens, a piece without primitives, and a classifier."""
    nodes = [
        ("Conv", ["x", "k"], ["c"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Relu", ["c"], ["r"]),
        ("Reshape", ["r", "to_tokens"], ["t"]),
        ("Transpose", ["t"], ["u"], {"perm": [0, 2, 1]}),
        ("MatMul", ["u", "w"], ["m"]),
        ("Softmax", ["m"], ["s"], {"axis": -1}),
        ("Add", ["s", "u"], ["a"]),
        ("ReduceMean", ["a", "axis"], ["v"], {"keepdims": 0}),
        ("Gemm", ["v", "h"], ["y"]),
    ]
    constants = {
        "k": weight(6, 3, 2, 2),
        "to_tokens": np.array([1, 6, 16]),
        "w": weight(6, 6),
        "axis": np.array([1]),
        "h": weight(6, 10),
    }
    return model_of(nodes, {"x": (1, 3, 8, 8)}, {"y": (1, 10)}, constants)


def test_every_node_is_in_a_piece_and_macs_add_up():
    model = small_network()
    pieces = take_apart(model)
    assert [n.output[0] for piece in pieces for n in piece.segment.nodes] == list("crtumsavy")
    network = network_of(model)
    # 6 filters of 3x2x2 at 4x4 positions, 16 tokens of 6 features times 6, and 6 features to 10 classes.
    assert network.counts.macs == 6 * 16 * 12 + 16 * 36 + 60 == model.macs
    assert any(piece.reason for piece in pieces) and any(piece.reason is None for piece in pieces)
    assert all(count(o.program).params >= 0 for piece in pieces for o in piece.operators)


def test_pieces_put_together_compute_what_the_file_computes():
    model = small_network()
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8), dtype=np.float32)
    value = x
    for piece in take_apart(model):
        names = {name for n in piece.segment.nodes for name in n.input}
        source, output = model.types[piece.segment.source], model.types[piece.segment.output]
        graph = helper.make_graph(
            list(piece.segment.nodes),
            "piece",
            [helper.make_tensor_value_info(piece.segment.source, 1, source.dims)],
            [helper.make_tensor_value_info(piece.segment.output, 1, output.dims)],
            [tensor for name, tensor in model.initializers.items() if name in names],
        )
        proto = helper.make_model(graph, opset_imports=model.proto.opset_import, ir_version=10)
        (value,) = run_model(proto.SerializeToString(), {piece.segment.source: value}).values()
    (whole,) = run_model(model.data, {"x": x}).values()
    assert np.allclose(value, whole, atol=1e-6)


def test_pieces_that_do_not_add_up_are_an_error(monkeypatch):
    model = small_network()
    monkeypatch.setattr(OnnxModel, "macs_of", lambda self, node: 7 if node.op_type == "MatMul" else None)
    with pytest.raises(ArchitectureError, match="do not add up"):
        take_apart(model)


def test_equal_blocks_stay_equal():
    nodes, constants = [], {}
    for i, name in enumerate("abc"):
        before = "x" if i == 0 else "xabc"[i]
        nodes += [
            ("MatMul", [before, f"w{i}"], [f"m{i}"]),
            ("Softmax", [f"m{i}"], [f"s{i}"]),
            ("Add", [f"s{i}", before], [name if i < 2 else "y"]),
        ]
        constants[f"w{i}"] = weight(8, 8, seed=i)
    network = network_of(model_of(nodes, {"x": (1, 5, 8)}, {"y": (1, 5, 8)}, constants))
    assert len(network.blocks) == 3 and len({o.program.canonical for o in network.operators}) == 1


def test_the_whole_program_runs():
    data = network_of(small_network()).program
    from nascli.profiles.onnx.graphs import onnx_bytes

    model = onnx_bytes(data, 1)
    onnx.checker.check_model(onnx.load_from_string(model))
    (output,) = run_model(model).values()
    assert output.shape == (1, 10)


def test_a_model_in_fp16_stays_in_fp16(tmp_path):
    from nascli.profiles.onnx.half_precision import half_precision
    from nascli.profiles.onnx.model_files import load_model

    model = small_network()
    half = onnx.load_from_string(half_precision(model))
    path = tmp_path / "half.onnx"
    onnx.save(half, path)
    pieces = take_apart(load_model(path))
    assert all(piece.reason is not None for piece in pieces)
    assert network_of(load_model(path)).counts.macs == model.macs
