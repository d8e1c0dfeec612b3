"""The code that is written computes what the network computes, for operators of every kind."""

import numpy as np
import pytest
import torch

from nascli.errors import SpaceError
from nascli.spaces import load_space
from nascli.supernet.modules import ProgramModule, network_module
from nascli.supernet.python_code import python_source, source_weights


@pytest.mark.parametrize(
    "spec",
    ["proxyless-mini:resolution=8,width=0.25", "spos-mini:resolution=14", "nse-27-mini:width=0.5",
     "fbnet-mini:resolution=8", "autospace-mini:width=0.5", "nss-elite", "nse-19-mini:width=0.5"],
)  # fmt: skip
def test_written_code_is_the_network(spec, tmp_path):
    space = load_space(spec)
    for row in space.sample(3, np.random.default_rng(1)):
        network = space.network(row, 'a "quoted" name')
        torch.manual_seed(0)
        module = network_module([o.program for o in network.operators]).eval()
        blocks = [b for b in module.children() if isinstance(b, ProgramModule)]
        text = python_source(network, "w.safetensors")
        assert "nascli" not in text
        scope = {}
        exec(compile(text, "net.py", "exec"), scope)
        net = scope["Net"]()
        net.load_state_dict(source_weights(network, blocks))
        x = torch.randn(2, *network.input)
        with torch.inference_mode():
            assert torch.allclose(net.eval()(x), module(x), atol=1e-5)


def test_few_bits_have_no_plain_code():
    space = load_space("spos-resnet18-bits-mini:width=0.25,resolution=8")
    with pytest.raises(SpaceError, match="bit widths"):
        python_source(space.network([0] * len(space.layers)), "w")
