"""Networks as readable PyTorch code that imports torch alone, and their weights under the names of that code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

from nascli.errors import SpaceError
from nascli.spaces.network import Network
from nascli.supernet.modules import ProgramModule
from nascli.supernet.python_layers import layer_code, layer_weights

_HEAD = '''"""{title}

{layers} blocks, {macs:,} MACs, {params:,} parameters; input {shape} (channels, height, width).

    model = Net()
    model.load_state_dict(safetensors.torch.load_file("{weights}"))
    model.eval()
"""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
'''


def _attribute_names(block_names: Sequence[str]) -> list[str]:
    """Return a Python identifier for the name of each block; all are different."""
    names: list[str] = []
    for block_name in block_names:
        plain = re.sub(r"\W", "_", block_name, flags=re.ASCII)
        name = plain if plain[:1].isalpha() else f"block_{plain}"
        while name in names:
            name += "_"
        names.append(name)
    return names


def python_source(network: Network, weights: str) -> str:
    """Return a network as the text of a Python module with a class `Net`.

    Args:
        network: Network to write.
        weights: Name of the weight file that the module's docstring loads.

    Raises:
        SpaceError: The network has convolutions at low bit widths, which plain layers do not compute.
    """
    if network.program.low_bit:
        raise SpaceError("convolutions at low bit widths have no plain PyTorch code.")
    constructor: list[str] = []
    steps: list[str] = []
    value = "x"
    attributes = _attribute_names([block.name for block in network.blocks])
    for block, prefix in zip(network.blocks, attributes, strict=True):
        program = block.operator.program
        values = [value]
        steps.append(f"        # {' '.join(block.name.split())}: {block.operator.short}")
        for number, node in enumerate(program.nodes, 1):
            inputs = [values[i] for i in node.inputs]
            target = f"h{len(steps)}"
            attribute = f"{prefix}_{number}"
            shapes = [program.shape_of(i) for i in node.inputs]
            layer, expression = layer_code(node, attribute, shapes, inputs)
            constructor += [f"        {line}" for line in layer]
            steps.append(f"        {target} = {expression}")
            values.append(target)
        value = values[program.output]
    counts = network.counts
    head = _HEAD.format(
        title=network.name.replace('"', "'").replace("\\", "/"),
        layers=len(network.blocks),
        macs=counts.macs,
        params=counts.params,
        shape=tuple(network.input),
        weights=weights,
    )
    body = "\n".join([*constructor, "", "    def forward(self, x):", *steps, f"        return {value}"])
    return f"{head}{body}\n"


def source_weights(network: Network, blocks: Sequence[ProgramModule]) -> dict[str, Tensor]:
    """Return the weights of a network under the names of its `python_source`.

    Args:
        network: Network that was trained.
        blocks: Its modules, in evaluation order.
    """
    weights: dict[str, Tensor] = {}
    attributes = _attribute_names([block.name for block in network.blocks])
    for name, block in zip(attributes, blocks, strict=True):
        for child, module in block.named_children():
            weights |= layer_weights(module, f"{name}_{child[1:]}")
    return weights
