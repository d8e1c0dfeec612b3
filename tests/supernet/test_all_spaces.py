"""Every operator of every space, in every shape: ONNX, torch and MACs agree."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces import count, make_space, space_names
from nascli.spaces.operators.residual_blocks import basic_block
from nascli.spaces.primitives import Conv
from nascli.spaces.staged import StagedSpace
from nascli.supernet.modules import ProgramModule, exported_weights


def chain_spaces():
    from nascli.spaces.catalog import make_space_of_any_kind

    return [
        name
        for name in space_names()
        if not isinstance(make_space_of_any_kind(name), StagedSpace) and name not in USERS
    ]


# Spaces that other tests of this process have made known.
USERS = {"ghosts", "toml-mbconv", "t", "tb"}


# Programs that were checked for an earlier space; many spaces share some.
CHECKED = set()


def quantised(operator):
    return any(
        isinstance(n.primitive, Conv) and n.primitive.weight_bits != 32 for n in operator.program.nodes
    )


def floating(operator):
    """The same block without bit widths: a quantised convolution computes as many MACs."""
    arguments = {k: v for k, v in operator.arguments if not k.endswith("_bits")}
    return basic_block(operator.input, **arguments)


@pytest.mark.parametrize("name", chain_spaces())
def test_every_operator_in_every_shape(name):
    for operator in make_space(name).operators():
        if operator.program.output == 0:
            continue
        if quantised(operator):
            assert count(floating(operator).program).macs == count(operator.program).macs
            operator = floating(operator)
        if operator.program.canonical in CHECKED:
            continue
        CHECKED.add(operator.program.canonical)
        module = ProgramModule(operator.program).eval()
        x = torch.randn(1, *operator.input)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            expected = module(x).numpy()
        assert counter.get_total_flops() == 2 * count(operator.program).macs, operator.label
        session = OrtCpu().load(
            onnx_bytes(operator.program, 1, exported_weights([module])), RuntimeOptions(threads=1)
        )
        scale = max(1.0, float(np.abs(expected).max()))
        assert np.abs(session.run(x.numpy()) - expected).max() <= 1e-4 * scale, operator.label
        session.close()
