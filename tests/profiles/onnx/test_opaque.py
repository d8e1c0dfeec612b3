import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_onnx import attention_block, model_of, weight

from nascli.lut import program_key
from nascli.profiles.onnx.graphs import onnx_bytes, onnx_model
from nascli.profiles.onnx.networks import network_of
from nascli.profiles.onnx.opaque import opaque_graph
from nascli.profiles.onnx.running import run_model
from nascli.spaces.opaque_graphs import OpaqueGraph


def graph_of(model):
    return opaque_graph(
        model.proto.graph.node,
        [name for name, _ in model.inputs],
        [name for name, _ in model.outputs],
        types=model.types,
        initializers=model.initializers,
        opset=model.opset,
        batch=model.batch,
    )


def test_names_order_and_weights_do_not_matter_but_shapes_and_attributes_do():
    text = graph_of(attention_block()).text
    assert text == graph_of(attention_block(rename="other.", reverse=True, seed=9)).text
    assert text != graph_of(attention_block(features=16)).text
    sixth = model_of([("Softmax", ["x"], ["y"], {"axis": 1})], {"x": (1, 6, 8)}, {"y": (1, 6, 8)})
    last = model_of([("Softmax", ["x"], ["y"], {"axis": 2})], {"x": (1, 6, 8)}, {"y": (1, 6, 8)})
    assert graph_of(sixth).text != graph_of(last).text


def test_constants_that_decide_are_kept_by_value():
    def sliced(stop):
        bounds = {"a": np.array([0]), "b": np.array([stop]), "c": np.array([1])}
        nodes = [("Slice", ["x", "a", "b", "c"], ["s"]), ("Softmax", ["s"], ["y"])]
        return graph_of(model_of(nodes, {"x": (1, 6, 8)}, {"y": (1, stop, 8)}, bounds))

    assert sliced(3).constants != sliced(4).constants and not sliced(3).weights
    scaled = [("Mul", ["x", "k"], ["y"])]
    by_value = [
        graph_of(model_of(scaled, {"x": (1, 4)}, {"y": (1, 4)}, {"k": np.float32(k)})).text for k in (1, 2)
    ]
    assert by_value[0] != by_value[1]


def test_a_piece_is_written_and_runs():
    model = attention_block()
    network = network_of(model)
    assert [o.program.nodes[0].primitive.kind for o in network.operators] == ["onnx"]
    again = onnx.load_from_string(onnx_bytes(network.program, 2))
    onnx.checker.check_model(again)
    (output,) = run_model(again.SerializeToString()).values()
    assert output.shape == (2, 6, 8) and np.isfinite(output).all() and output.std() > 0.1


def test_written_text_reads_back_as_itself():
    text = graph_of(attention_block()).text
    program = network_of(attention_block()).program
    written = onnx_model(program, 2)
    from nascli.profiles.onnx.model import OnnxModel
    from nascli.profiles.onnx.tidying import tidy

    assert graph_of(OnnxModel("again", tidy(written), 2)).text == text
    assert OpaqueGraph.parse(text).text == text


def test_control_flow_keeps_its_branches():
    def branch(op):
        node = helper.make_node(op, ["x"], ["r"])
        return helper.make_graph(
            [node], op, [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 4])]
        )

    nodes = [
        ("ReduceSum", ["x"], ["s"], {"keepdims": 0}),
        ("Greater", ["s", "zero"], ["c"]),
        ("If", ["c"], ["y"], {"then_branch": branch("Relu"), "else_branch": branch("Neg")}),
    ]
    model = model_of(nodes, {"x": (1, 4)}, {"y": (1, 4)}, {"zero": np.float32(0)})
    graph = graph_of(model)
    assert graph.has_subgraphs and OpaqueGraph.parse(graph.text) == graph
    network = network_of(model)
    x = np.array([[-1, 2, 3, -1]], np.float32)
    data = onnx_bytes(network.program, 1)
    name = onnx.load_from_string(data).graph.input[0].name
    (positive,) = run_model(data, {name: x}).values()
    (negative,) = run_model(data, {name: -x}).values()
    assert (positive == np.maximum(x, 0)).all() and (negative == x).all()


def test_copies_have_inputs_outputs_and_weights_of_their_own():
    nodes = [("MatMul", ["x", "w"], ["y"])]
    network = network_of(model_of(nodes, {"x": (1, 3, 8)}, {"y": (1, 3, 8)}, {"w": weight(8, 8)}))
    model = onnx_model(network.program.repeated(3), 1)
    onnx.checker.check_model(model)
    assert len(model.graph.input) == len(model.graph.output) == len(model.graph.initializer) == 3
    first, second, third = (bytes(t.raw_data) for t in model.graph.initializer)
    assert first != second != third
    values = {value.name: np.eye(8, dtype=np.float32)[None, :3] for value in model.graph.input}
    outputs = list(run_model(model.SerializeToString(), values).values())
    assert not np.allclose(outputs[0], outputs[1])
    assert program_key(network.program) != program_key(network.program.repeated(3))


def test_copies_keep_factors_and_sizes():
    nodes = [("Resize", ["x", "", "scales"], ["y"], {"mode": "nearest"})]
    scales = {"scales": np.array([1, 1, 2, 3], np.float32)}
    network = network_of(model_of(nodes, {"x": (1, 2, 3, 4)}, {"y": (1, 2, 6, 12)}, scales))
    model = onnx_model(network.program.repeated(3), 1)
    assert [value.shape for value in run_model(model.SerializeToString()).values()] == [(1, 2, 6, 12)] * 3


@pytest.mark.parametrize("precision", ["int8", "int8-symmetric"])
def test_int8_of_a_piece_is_refused(precision):
    from nascli.errors import NascliError

    with pytest.raises(NascliError, match="not written in int8"):
        onnx_bytes(network_of(attention_block()).program, 2, precision=precision)
