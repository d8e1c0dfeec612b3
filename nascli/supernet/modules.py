"""Programs as torch modules, and their weights under the names that their ONNX graphs take."""

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
    """A program as a torch module. The parameters of node i are in the submodule ``n{i}``.

    Args:
        program: Program to compute.
        affine: Whether batch normalisation has a learned scale and shift.
    """

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
        """Compute the program.

        Args:
            x: `(batch, channels, height, width)`.

        Returns:
            `(batch, channels, height, width)`, or `(batch, classes)` for a classifier.
        """
        values: list[Tensor | None] = [x]
        for index, (node, name) in enumerate(self._plan, 1):
            inputs = [_not_freed(values[i]) for i in node.inputs]
            if name is None:
                values.append(_compute_without_parameters(node, inputs))
            else:
                h = inputs[0].flatten(1) if isinstance(node.primitive, Linear) else inputs[0]
                values.append(self.get_submodule(name)(h))
            for i in set(node.inputs):
                # Values that no later node reads are freed, to keep the peak memory of inference low.
                if self._last_use[i] == index:
                    values[i] = None
        return _not_freed(values[self.program.output])


def _convolution(conv: Conv, x: Shape, affine: bool) -> NormalisedConv:
    from nascli.supernet.convolutions import LowBitConv

    return LowBitConv(conv, x, affine) if conv.low_bit else NormalisedConv(conv, x, affine)


def _last_uses(program: Program) -> dict[int, int]:
    """Return the last node that reads each value, by their numbers; the output is read after the last node."""
    last = {value: position for position, node in enumerate(program.nodes, 1) for value in node.inputs}
    last[program.output] = len(program.nodes) + 1
    return last


def _not_freed(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _compute_without_parameters(node: Node, inputs: Sequence[Tensor]) -> Tensor:
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
    """Return a plain network with one `ProgramModule` per block, in sequence.

    Args:
        programs: Programs of the blocks, in evaluation order.
    """
    return nn.Sequential(*(ProgramModule(program) for program in programs))


def exported_weights(blocks: Sequence[ProgramModule]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of blocks in sequence, by the names in the ONNX graph of their chained program.

    Batch normalisation is folded into the convolutions.

    Args:
        blocks: Modules in evaluation order.

    Raises:
        SpaceError: A block has convolutions at low bit widths, which a graph of plain convolutions does not compute.
    """
    if any(block.program.low_bit for block in blocks):
        raise SpaceError(
            "convolutions at low bit widths cannot be exported to ONNX.",
            "Their weights are in the checkpoint and in weights.safetensors.",
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
    """Load the weights of a module from the tensors of a checkpoint.

    Args:
        module: Module to load into, in place.
        tensors: Tensors of the checkpoint; the names of the weights begin with ``module/``.

    Raises:
        CheckpointError: Names or shapes of the weights do not fit the module.
    """
    prefix = "module/"
    state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the network: {error}") from error


def load_network(network: Network, weights: Path) -> nn.Sequential:
    """Load a trained network, in evaluation mode.

    Args:
        network: Network that was trained.
        weights: File that `save_weights` wrote.

    Raises:
        CheckpointError: The file holds no weights of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    module = network_module([operator.program for operator in network.operators])
    try:
        module.load_state_dict(load_file(weights))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(
            f"{weights} holds no weights of this architecture: {reason}.",
            "A run's folder has weights.safetensors beside architecture.json.",
        ) from error
    return module.eval()
