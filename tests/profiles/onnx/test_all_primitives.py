"""Random programs of every primitive: counts, ONNX, torch, Python code, and the reader must agree."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from random_programs import programs

from nascli.costmodel.roofline.kernels import kernels_of
from nascli.profiles.onnx.graphs import onnx_bytes, onnx_model
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.networks import read_onnx_weights
from nascli.spaces import count
from nascli.spaces import primitives as p
from nascli.spaces.network import Network
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program
from nascli.supernet.modules import ProgramModule, exported_weights, load_exported_weights
from nascli.supernet.python_code import python_source, source_weights

TOLERANCE = 1e-4
examples = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def run(model, x):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def randomised(program):
    torch.manual_seed(0)
    module = ProgramModule(program).eval()
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if "var" in name or "weight" in name else tensor.normal_(0, 0.3)
    return module


def assert_close(found, expected):
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    assert np.abs(found - expected).max(initial=0) <= TOLERANCE * scale


@examples
@given(programs())
def test_every_form_of_a_program_computes_the_same(tmp_path, program):
    module = randomised(program)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, *program.input)).astype(np.float32))
    with torch.inference_mode():
        expected = module(x).numpy()
    weights = exported_weights([module])
    model = onnx_model(program, 2, weights)
    onnx.checker.check_model(model, full_check=True)
    assert_close(run(model.SerializeToString(), x.numpy()), expected)

    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    network, read = read_onnx_weights(path)
    assert network.counts.macs == count(program).macs
    assert_close(run(onnx_bytes(network.program, 2, read), x.numpy()), expected)
    loaded = ProgramModule(network.program).eval()
    load_exported_weights([loaded], read)
    with torch.inference_mode():
        assert_close(loaded(x).numpy(), expected)

    blocks = Network("n", (("all", Operator("all", (), program)),))
    space = {}
    exec(python_source(blocks, "w"), space)
    net = space["Net"]().eval()
    net.load_state_dict(source_weights(blocks, [module]))
    with torch.inference_mode():
        assert_close(net(x).numpy(), expected)


@examples
@given(programs())
def test_counts_equal_those_of_the_file(tmp_path, program):
    path = tmp_path / "m.onnx"
    onnx.save(onnx_model(program, 2), path)
    macs, params, _ = count_onnx(path)
    counts = count(program)
    assert macs == counts.macs
    sizes = {t.name: int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer if t.data_type == 1}
    assert params == sum(size for size in sizes.values() if size > 1)
    # A bias of a linear layer is always among the deployed parameters.
    missing = sum(n.primitive.out for n in program.nodes if n.primitive == p.Linear(3, False))
    deployed = sum(size for name, size in sizes.items() if name.endswith((".weight", ".bias")))
    assert deployed == counts.weight_bytes // 4 - missing
    assert sum(tensor.numel() for tensor in ProgramModule(program).parameters()) == counts.params
    assert kernels_of(program, 2, "fp32").kernels.macs.sum() == pytest.approx(2 * counts.macs)


@examples
@given(programs())
def test_programs_survive_their_text_and_lower_precisions(program):
    assert Program.from_canonical(program.canonical) == program
    x = np.random.default_rng(0).standard_normal((1, *program.input)).astype(np.float32)
    for precision in ("int8", "int8-symmetric"):
        run(onnx_bytes(program, 1, precision=precision), x)
    run(onnx_bytes(program, 1, precision="fp16"), x.astype(np.float16))
