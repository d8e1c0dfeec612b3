import numpy as np
import onnx
import pytest
from onnx import helper

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.graphs import onnx_bytes, onnx_model
from nascli.profiles.onnx.networks import read_onnx_network, read_onnx_weights
from nascli.profiles.onnx.precisions import to_int8
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.registry import get_runtime
from nascli.spaces import load_space
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.reference_networks import network_names, reference_network


def saved(path, program, batch=1):
    path.write_bytes(onnx_bytes(program, batch))
    return path


@pytest.mark.parametrize("name", ["mobilenetv2", "shufflenetv2-1.0", "resnet50"])
def test_reference_networks_survive_the_way_through_onnx(tmp_path, name):
    if name not in network_names():
        name = next(n for n in network_names() if n.startswith(name.partition("-")[0][:6]))
    network = reference_network(name)
    read = read_onnx_network(saved(tmp_path / "m.onnx", network.program))
    assert read.counts.macs == network.counts.macs
    assert read.output == network.output
    assert len(read.blocks) > 5


@pytest.mark.parametrize("spec", ["spos-mini", "proxyless-mini", "nse-27-mini", "pcnas-large-mini"])
def test_random_networks_of_every_kind_survive(tmp_path, spec):
    space = load_space(spec)
    for row in space.sample(3, np.random.default_rng(0)):
        network = space.network(row)
        read = read_onnx_network(saved(tmp_path / "m.onnx", network.program))
        assert read.counts.macs == network.counts.macs


def test_a_model_that_torch_wrote(tmp_path):
    torch = pytest.importorskip("torch")
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
            self.b = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU())
            self.c = nn.Linear(8, 10)

        def forward(self, x):
            h = self.a(x)
            return self.c((h + self.b(h)).mean((2, 3)))

    path = tmp_path / "t.onnx"
    torch.onnx.export(Block().eval(), (torch.zeros(1, 3, 16, 16),), path, dynamo=False, verbose=False)
    network = read_onnx_network(path)
    assert network.counts.macs == 8 * 27 * 64 + 8 * 9 * 64 + 80
    assert network.output.channels == 10


def test_what_has_no_primitive_is_a_piece_of_onnx(tmp_path):
    node = helper.make_node("Erf", ["input"], ["output"], name="strange")
    shape = [1, 3, 8, 8]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("input", 1, shape)],
        [helper.make_tensor_value_info("output", 1, shape)],
    )
    path = tmp_path / "e.onnx"
    onnx.save(helper.make_model(graph), path)
    (node,) = read_onnx_network(path).program.nodes
    assert [inner.op for inner in node.primitive.parsed.nodes] == ["Erf"]
    with pytest.raises(ArchitectureError, match=r"strange \(Erf\)"):
        read_onnx_weights(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ArchitectureError):
        read_onnx_network(path)
    with pytest.raises(ArchitectureError, match="cannot read"):
        read_onnx_network(tmp_path / "none.onnx")


def _model(path, nodes, *, shape=(1, 8, 16, 16), out=(1, 8, 16, 16), constants=()):
    from onnx import numpy_helper

    weights = numpy_helper.from_array(np.zeros((8, 8, 1, 1), np.float32), "w")
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", 1, out)],
        [weights, *(numpy_helper.from_array(values, name) for name, values in constants)],
    )
    onnx.save(helper.make_model(graph), path)
    return path


def test_a_sigmoid_with_two_readers_stays_one(tmp_path):
    node = helper.make_node
    swish = [node("Conv", ["x", "w"], ["c"]), node("Sigmoid", ["c"], ["s"]), node("Mul", ["c", "s"], ["m"])]
    alone = read_onnx_network(_model(tmp_path / "a.onnx", [*swish, node("Relu", ["m"], ["y"])]))
    assert [n.primitive.kind for n in alone.program.nodes] == ["conv", "act", "act"]
    both = read_onnx_network(_model(tmp_path / "b.onnx", [*swish, node("Add", ["m", "s"], ["y"])]))
    kinds = [str(n.primitive) for n in both.program.nodes]
    assert sum("sigmoid" in kind for kind in kinds) == 1 and sum("swish" in kind for kind in kinds) == 1
    passed = [*swish[:2], node("Identity", ["s"], ["t"]), node("Mul", ["c", "t"], ["m"])]
    for more, kept in ((node("Relu", ["m"], ["y"]), 0), (node("Add", ["m", "s"], ["y"]), 1)):
        read = read_onnx_network(_model(tmp_path / "c.onnx", [*passed, more]))
        assert sum("sigmoid" in str(n.primitive) for n in read.program.nodes) == kept


def test_windows_that_are_cut_off_become_padding(tmp_path):
    def pool(size, **more):
        out = (1, 8, 9, 9) if size == 16 and more else (1, 8, 8, 8)
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["c"]),
            helper.make_node(
                "MaxPool", ["c"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], **more
            ),
        ]
        return _model(tmp_path / "p.onnx", nodes, shape=(1, 8, size, size), out=out)

    assert read_onnx_network(pool(16)).output.height == 8
    assert read_onnx_network(pool(15, ceil_mode=1)).output.height == 8
    cut_off = read_onnx_network(pool(16, ceil_mode=1)).program
    assert cut_off.output_shape.height == 9 and cut_off.nodes[-1].primitive.padding == (1, 1, 2, 2)
    with pytest.raises(ArchitectureError, match="without dilations"):
        read_onnx_weights(pool(16, dilations=[2, 2]))


def test_a_constant_is_added_as_a_bias_per_channel(tmp_path):
    def added(size, relu=False):
        nodes = [helper.make_node("Conv", ["x", "w"], ["c"])]
        nodes += [helper.make_node("Relu", ["c"], ["r"])] if relu else []
        nodes.append(helper.make_node("Add", ["r" if relu else "c", "b"], ["y"]))
        return _model(tmp_path / "d.onnx", nodes, constants=[("b", np.zeros(size, np.float32))])

    assert len(read_onnx_network(added((1, 8, 1, 1))).program.nodes) == 1
    behind = read_onnx_network(added((1, 8, 1, 1), relu=True)).program.nodes
    assert [node.primitive.kind for node in behind] == ["conv", "act", "channel_bias"]
    with pytest.raises(ArchitectureError, match="with one per channel, got a constant of"):
        read_onnx_weights(added((1, 8, 16, 16)))


def test_int8_runs_in_integer_kernels_and_is_close_to_fp32(tmp_path):
    import onnxruntime as ort

    program = mbconv((16, 14, 14), 16).program
    model = to_int8(onnx_model(program, 2))
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "o.onnx").graph.node]
    assert kinds.count("QLinearConv") == 3 and "Conv" not in kinds
    inputs = (0.3 * np.random.default_rng(0).standard_normal((2, 16, 14, 14))).astype(np.float32)
    found = {}
    for precision in ("fp32", "int8"):
        session = get_runtime("ort-cpu").load(
            onnx_bytes(program, 2, precision=precision), RuntimeOptions(precision=precision)
        )
        found[precision] = session.run(inputs)
        session.close()
    assert np.corrcoef(found["fp32"].ravel(), found["int8"].ravel())[0, 1] > 0.95


@pytest.mark.parametrize("spec", ["spos-mini", "proxyless-mini", "nse-27-mini", "pcnas-large-mini"])
def test_every_operator_has_an_int8_form(spec):
    runtime = get_runtime("ort-cpu")
    for operator in load_space(spec).operators()[::7]:
        if operator.program.output == 0:
            continue
        options = RuntimeOptions(precision="int8")
        runtime.load(onnx_bytes(operator.program, 1, precision="int8"), options).close()


def test_int8_refuses_nodes_of_several_outputs():
    graph = helper.make_graph(
        [
            helper.make_node("Split", ["x"], ["a", "b"], axis=1, num_outputs=2),
            helper.make_node("Add", ["a", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", 1, (1, 4, 2, 2))],
        [helper.make_tensor_value_info("y", 1, (1, 2, 2, 2))],
    )
    with pytest.raises(SpaceError, match="Split has 2 outputs"):
        to_int8(helper.make_model(graph))
