"""One description, several readings: ONNX, torch and the counts must agree."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces import count, make_space
from nascli.spaces.operators.attention import convnext, self_attention, transformer
from nascli.spaces.operators.basic import avg_pool, max_pool
from nascli.spaces.operators.definition import (
    activation,
    add,
    concat,
    conv,
    gain,
    global_pool,
    linear,
    shuffle,
    split,
)
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.registry import operator
from nascli.supernet.modules import ProgramModule, exported_weights, network_module


@operator
def everything(x):
    """Each primitive once, for the agreement test."""
    a, b = split(x, [4, x.channels - 4])
    b = conv(b, 8, (1, 5), stride=(1, 2), act="hswish")
    a = conv(a, 8, 3, stride=(1, 2), dilation=2, groups=4, act="swish")
    h = shuffle(concat(a, b), 2)
    h = add(h, gain(h, 0.25), activation(h, "sigmoid"))
    h = linear(global_pool(h), 6)
    return linear(activation(h, "relu"), 3, bias=False)


OPERATORS = [
    *(o for o in make_space("proxyless-mini").operators() if o.program.output),
    mbconv((16, 9, 7), 16, se=True, act="hswish"),
    mbconv((16, 9, 7), 24, kernel=5, expand=3, groups=2, stride=2, act="relu"),
    mbconv((12, 6, 6), 12, expand=1),
    max_pool((5, 7, 7), kernel=3, stride=2),
    avg_pool((5, 7, 6), kernel=5, stride=1),
    everything((10, 6, 8)),
    self_attention((12, 5, 6), heads=2, head_dim=8, reduction=2),
    transformer((16, 4, 4), heads=4, head_dim=4, layer_scale=True),
    convnext((8, 7, 6), 12, stride=2),
]


def randomised(program, seed=0):
    torch.manual_seed(seed)
    module = ProgramModule(program)
    for m in module.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(m.weight, 0.5, 1.5)
            torch.nn.init.normal_(m.bias, 0, 0.2)
    return module.eval()


@pytest.mark.parametrize("op", OPERATORS, ids=lambda o: o.label)
def test_onnx_equals_torch_and_macs_equal_the_flop_counter(op):
    module = randomised(op.program)
    x = torch.randn(2, *op.input)
    with torch.inference_mode():
        expected = module(x)
    session = OrtCpu().load(onnx_bytes(op.program, 2, exported_weights([module])), RuntimeOptions())
    given = session.run(x.numpy())
    assert given.shape == tuple(expected.shape)
    scale = max(1.0, float(expected.abs().max()))
    assert np.abs(given - expected.numpy()).max() <= 1e-4 * scale
    with FlopCounterMode(display=False) as counter:
        module(torch.randn(1, *op.input))
    assert counter.get_total_flops() == 2 * count(op.program).macs


def test_parameters_equal_torchs():
    for op in OPERATORS:
        module = ProgramModule(op.program)
        assert sum(p.numel() for p in module.parameters()) == count(op.program).params


def test_whole_networks_agree_too(rng):
    space = make_space("proxyless-mini", width=0.5)
    network = space.network(space.sample(1, rng)[0])
    module = network_module([o.program for o in network.operators]).eval()
    x = torch.randn(3, *network.input)
    session = OrtCpu().load(onnx_bytes(network.program, 3, exported_weights(list(module))), RuntimeOptions())
    with torch.inference_mode():
        expected = module(x).numpy()
    assert np.abs(session.run(x.numpy()) - expected).max() < 1e-4 * max(1, np.abs(expected).max())
