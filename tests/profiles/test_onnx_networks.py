import numpy as np
import onnx
import pytest
from onnx import helper

from nascli.errors import ArchitectureError
from nascli.profiles.graphs import onnx_bytes, onnx_model
from nascli.profiles.onnx_networks import network_of_onnx
from nascli.profiles.quantised import quantised
from nascli.profiles.runtimes import RuntimeOptions, get_runtime
from nascli.spaces import load_space
from nascli.spaces.library import mbconv
from nascli.spaces.networks import network_names, reference_network


def saved(path, program, batch=1):
    path.write_bytes(onnx_bytes(program, batch))
    return path


@pytest.mark.parametrize("name", ["mobilenetv2", "shufflenetv2-1.0", "resnet50"])
def test_reference_networks_survive_the_way_through_onnx(tmp_path, name):
    if name not in network_names():
        name = next(n for n in network_names() if n.startswith(name.partition("-")[0][:6]))
    network = reference_network(name)
    read = network_of_onnx(saved(tmp_path / "m.onnx", network.program))
    assert read.counts.macs == network.counts.macs
    assert read.output == network.output
    assert len(read.blocks) > 5


@pytest.mark.parametrize("spec", ["spos-mini", "proxyless-mini", "nse-27-mini", "pcnas-large-mini"])
def test_random_networks_of_every_kind_survive(tmp_path, spec):
    space = load_space(spec)
    for row in space.sample(3, np.random.default_rng(0)):
        network = space.network(row)
        read = network_of_onnx(saved(tmp_path / "m.onnx", network.program))
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
    network = network_of_onnx(path)
    assert network.counts.macs == 8 * 27 * 64 + 8 * 9 * 64 + 80
    assert network.output.channels == 10


def test_what_has_no_primitive_is_named(tmp_path):
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
    with pytest.raises(ArchitectureError, match="strange is a Erf"):
        network_of_onnx(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ArchitectureError):
        network_of_onnx(path)
    with pytest.raises(ArchitectureError, match="cannot read"):
        network_of_onnx(tmp_path / "none.onnx")


def test_int8_runs_in_integer_kernels_and_is_close_to_fp32(tmp_path):
    import onnxruntime as ort

    program = mbconv((16, 14, 14), 16).program
    model = quantised(onnx_model(program, 2))
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
