"""A network as readable PyTorch code that needs nothing but torch, with its weights under the same names."""

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


def _attributes(blocks: Sequence[str]) -> list[str]:
    """A name for each block that Python takes, whatever people call it; all of them different."""
    found: list[str] = []
    for block in blocks:
        plain = re.sub(r"\W", "_", block, flags=re.ASCII)
        name = plain if plain[:1].isalpha() else f"block_{plain}"
        while name in found:
            name += "_"
        found.append(name)
    return found


def python_source(network: Network, weights: str) -> str:
    """The code of a network.

    Args:
        network: what to write.
        weights: the file's name that its docstring loads.

    Raises:
        SpaceError: low-bit convolutions, which plain layers do not compute.
    """
    if network.program.low_bit:
        raise SpaceError("convolutions with bit widths have no plain PyTorch code.")
    made: list[str] = []
    steps: list[str] = []
    value = "x"
    attributes = _attributes([block.name for block in network.blocks])
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
            made += [f"        {line}" for line in layer]
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
    body = "\n".join([*made, "", "    def forward(self, x):", *steps, f"        return {value}"])
    return f"{head}{body}\n"


def _layer(node: Node, attribute: str, channels: int, inputs: Sequence[str]) -> tuple[list[str], str]:
    """What the constructor makes for a node, and the expression that computes it."""
    x = inputs[0]
    match node.primitive:
        case Conv() as conv:
            padding = tuple(d * (k - 1) // 2 for k, d in zip(conv.kernel, conv.dilation, strict=True))
            made = [
                f"self.{attribute} = nn.Conv2d({channels}, {conv.out}, {conv.kernel}, stride={conv.stride}, "
                f"padding={padding}, dilation={conv.dilation}, groups={conv.groups}, bias={conv.bias})"
            ]
            if not conv.norm:
                return made, f"self.{attribute}({x})"
            made.append(f"self.{attribute}_bn = nn.BatchNorm2d({conv.out})")
            return made, f"self.{attribute}_bn(self.{attribute}({x}))"
        case Linear(out=out, bias=bias):
            made = [f"self.{attribute} = nn.Linear({channels}, {out}, bias={bias})"]
            return made, f"self.{attribute}(torch.flatten({x}, 1))"
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
            raise SpaceError(f"{node.primitive.kind} has no PyTorch code here")


def source_weights(network: Network, blocks: Sequence[ProgramModule]) -> dict[str, Tensor]:
    """The blocks' weights under the names of `python_source`."""
    found: dict[str, Tensor] = {}
    attributes = _attributes([block.name for block in network.blocks])
    for name, block in zip(attributes, blocks, strict=True):
        for child, module in block.named_children():
            attribute = f"{name}_{child[1:]}"
            parts: list[tuple[str, nn.Module]] = [(attribute, module)]
            if isinstance(module, NormalisedConv):
                parts = [(attribute, module.conv)]
                if module.norm is not None:
                    parts.append((f"{attribute}_bn", module.norm))
            for prefix, part in parts:
                found |= {f"{prefix}.{k}": v.contiguous() for k, v in part.state_dict().items()}
    return found
