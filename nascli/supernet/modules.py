"""The torch reading of a program, and its weights in the form that the ONNX reading takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.errors import CheckpointError, SpaceError
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
    Shape,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Node, Program
from nascli.supernet.convolutions import NormalisedConv

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hswish": F.hardswish,
    "swish": F.silu,
    "sigmoid": torch.sigmoid,
    "hsigmoid": F.hardsigmoid,
}


class ProgramModule(nn.Module):
    """Runs a program; node i's parameters live in the submodule ``n{i}``."""

    def __init__(self, program: Program, *, affine: bool = True) -> None:
        super().__init__()
        self.program = program
        self._plan: list[tuple[Node, str | None]] = []
        self._last_use = _last_uses(program)
        for index, node in enumerate(program.nodes, 1):
            x = program.shape_of(node.inputs[0])
            module: nn.Module | None = None
            if isinstance(node.primitive, Conv):
                module = _convolution(node.primitive, x, affine)
            elif isinstance(node.primitive, Linear):
                module = nn.Linear(x.channels, node.primitive.out, bias=node.primitive.bias)
            name = f"n{index}" if module is not None else None
            if module is not None:
                self.add_module(f"n{index}", module)
            self._plan.append((node, name))

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate on `(batch, channels, height, width)`; a classifier returns `(batch, classes)`."""
        values: list[Tensor | None] = [x]
        for index, (node, name) in enumerate(self._plan, 1):
            inputs = [_present(values[i]) for i in node.inputs]
            if name is None:
                values.append(_evaluate(node, inputs))
            else:
                h = inputs[0].flatten(1) if isinstance(node.primitive, Linear) else inputs[0]
                values.append(self.get_submodule(name)(h))
            for i in set(node.inputs):
                # Values that nobody reads again are let go, so that inference keeps its peak low.
                if self._last_use[i] == index:
                    values[i] = None
        return _present(values[self.program.output])


def _convolution(conv: Conv, x: Shape, affine: bool) -> NormalisedConv:
    from nascli.supernet.convolutions import LowBitConv

    return LowBitConv(conv, x, affine) if conv.low_bit else NormalisedConv(conv, x, affine)


def _last_uses(program: Program) -> dict[int, int]:
    last = {value: position for position, node in enumerate(program.nodes, 1) for value in node.inputs}
    last[program.output] = len(program.nodes) + 1
    return last


def _present(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _evaluate(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    x = inputs[0]
    match node.primitive:
        case Act(function=function):
            return _ACTIVATIONS[function](x)
        case Pool(mode="max", kernel=kernel, stride=stride):
            return F.max_pool2d(x, kernel, stride, kernel // 2)
        case Pool(kernel=kernel, stride=stride):
            return F.avg_pool2d(x, kernel, stride, kernel // 2, count_include_pad=False)
        case GlobalPool():
            return x.mean((2, 3), keepdim=True)
        case Add():
            total = x
            for other in inputs[1:]:
                total = total + other
            return total
        case Scale():
            return x * inputs[1]
        case Gain(factor=factor):
            return x * factor
        case Split(start=start, stop=stop):
            return x[:, start:stop]
        case Concat():
            return torch.cat(list(inputs), dim=1)
        case Shuffle(groups=groups):
            return F.channel_shuffle(x, groups)
        case _:
            raise AssertionError(f"{node.primitive.kind} has a module of its own")


def network_module(programs: Sequence[Program]) -> nn.Sequential:
    """A plain network: one module per block, in sequence."""
    return nn.Sequential(*(ProgramModule(program) for program in programs))


def exported_weights(blocks: Sequence[ProgramModule]) -> dict[str, npt.NDArray[np.float32]]:
    """Weights of a chain of blocks by the names of the chained program's ONNX graph.

    Raises:
        SpaceError: low-bit blocks, which the graph of plain convolutions does not compute.
    """
    if any(block.program.low_bit for block in blocks):
        raise SpaceError(
            "convolutions with bit widths have no ONNX graph here; their weights are in the checkpoint"
        )
    weights: dict[str, npt.NDArray[np.float32]] = {}
    offset = 0
    for block in blocks:
        for name, module in block.named_children():
            target = f"n{int(name[1:]) + offset}"
            if isinstance(module, NormalisedConv):
                weight, bias = module.folded()
                weights[f"{target}.bias"] = bias.numpy()
            else:
                assert isinstance(module, nn.Linear)
                weight = module.weight.detach()
                if module.bias is not None:
                    weights[f"{target}.bias"] = module.bias.detach().numpy()
            weights[f"{target}.weight"] = weight.contiguous().numpy()
        offset += len(block.program.nodes)
    return weights


def load_module(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load the ``module/`` tensors of a checkpoint.

    Raises:
        CheckpointError: names or shapes that do not fit.
    """
    own = {name[7:]: tensor for name, tensor in tensors.items() if name.startswith("module/")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the network: {error}") from error


def load_network(network: Network, weights: Path) -> nn.Sequential:
    """A network with trained weights, in evaluation mode.

    Args:
        network: What was trained.
        weights: The file that `save_weights` wrote.

    Raises:
        CheckpointError: The file holds no weights of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    module = network_module([operator.program for operator in network.operators])
    try:
        module.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{weights} holds no weights of this architecture: {first}.",
            "weights.safetensors lies beside architecture.json in a run's folder.",
        ) from error
    return module.eval()
