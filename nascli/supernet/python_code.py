"""Networks as readable PyTorch code that imports torch alone, and their weights under the names of that code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor, nn

from nascli.errors import SpaceError
from nascli.spaces.network import Network
from nascli.spaces.primitives import (
    Act,
    Add,
    Concat,
    Conv,
    Gain,
    GlobalPool,
    Linear,
    Pool,
    Scale,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Node
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.modules import ProgramModule

_ACTIVATIONS = {
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "hswish": "F.hardswish({})",
    "swish": "F.silu({})",
    "sigmoid": "torch.sigmoid({})",
    "hsigmoid": "F.hardsigmoid({})",
}
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
            x = program.shape_of(node.inputs[0])
            layer, expression = _layer(node, attribute, x.channels, inputs)
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


def _layer(node: Node, attribute: str, channels: int, inputs: Sequence[str]) -> tuple[list[str], str]:
    """Return the lines of the constructor for a node, and the expression that computes it."""
    x = inputs[0]
    match node.primitive:
        case Conv() as conv:
            padding = tuple(d * (k - 1) // 2 for k, d in zip(conv.kernel, conv.dilation, strict=True))
            lines = [
                f"self.{attribute} = nn.Conv2d({channels}, {conv.out}, {conv.kernel}, stride={conv.stride}, "
                f"padding={padding}, dilation={conv.dilation}, groups={conv.groups}, bias={conv.bias})"
            ]
            if not conv.norm:
                return lines, f"self.{attribute}({x})"
            lines.append(f"self.{attribute}_bn = nn.BatchNorm2d({conv.out})")
            return lines, f"self.{attribute}_bn(self.{attribute}({x}))"
        case Linear(out=out, bias=bias):
            lines = [f"self.{attribute} = nn.Linear({channels}, {out}, bias={bias})"]
            return lines, f"self.{attribute}(torch.flatten({x}, 1))"
        case Act(function=function):
            return [], _ACTIVATIONS[function].format(x)
        case Pool(mode="max", kernel=kernel, stride=stride):
            return [], f"F.max_pool2d({x}, {kernel}, {stride}, {kernel // 2})"
        case Pool(kernel=kernel, stride=stride):
            return [], f"F.avg_pool2d({x}, {kernel}, {stride}, {kernel // 2}, count_include_pad=False)"
        case GlobalPool():
            return [], f"{x}.mean((2, 3), keepdim=True)"
        case Add():
            return [], " + ".join(inputs)
        case Scale():
            return [], f"{x} * {inputs[1]}"
        case Gain(factor=factor):
            return [], f"{x} * {factor!r}"
        case Split(start=start, stop=stop):
            return [], f"{x}[:, {start}:{stop}]"
        case Concat():
            return [], f"torch.cat([{', '.join(inputs)}], dim=1)"
        case Shuffle(groups=groups):
            return [], f"F.channel_shuffle({x}, {groups})"
        case _:
            raise SpaceError(f"the primitive {node.primitive.kind} has no PyTorch code.")


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
            attribute = f"{name}_{child[1:]}"
            parts: list[tuple[str, nn.Module]] = [(attribute, module)]
            if isinstance(module, NormalisedConv):
                parts = [(attribute, module.conv)]
                if module.norm is not None:
                    parts.append((f"{attribute}_bn", module.norm))
            for prefix, part in parts:
                weights |= {f"{prefix}.{k}": v.contiguous() for k, v in part.state_dict().items()}
    return weights
