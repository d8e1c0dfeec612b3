"""Programs as torch modules, and their weights under the names that their ONNX graphs take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nascli.errors import CheckpointError, SpaceError
from nascli.spaces.network import Network
from nascli.spaces.programs import Node, Program
from nascli.supernet.computing import compute_without_parameters
from nascli.supernet.layers import deployed_weights, layer_of, load_deployed


class ProgramModule(nn.Module):
    """A program as a torch module. The parameters of node i are in the submodule ``n{i}``.

    Args:
        program: Program to compute.
        affine: Whether batch normalisation has a learned scale and shift.

    Attributes:
        program: The argument.
        input_filters: Functions that change the inputs of a node before it is computed, by the number of the node, from
            1. There are none unless a training installs them.
    """

    def __init__(self, program: Program, *, affine: bool = True) -> None:
        super().__init__()
        self.program = program
        self.input_filters: dict[int, Callable[[list[Tensor]], list[Tensor]]] = {}
        # Each node with the name of its module, if it has one, and the values that no later node reads.
        self._plan: list[tuple[Node, str | None, tuple[int, ...]]] = []
        last_use = _last_uses(program)
        for index, node in enumerate(program.nodes, 1):
            module = layer_of(node.primitive, program.shape_of(node.inputs[0]), affine)
            name = f"n{index}" if module is not None else None
            if module is not None:
                self.add_module(f"n{index}", module)
            freed = tuple(i for i in set(node.inputs) if last_use[i] == index)
            self._plan.append((node, name, freed))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the program.

        Args:
            x: `(batch, channels, height, width)`.

        Returns:
            `(batch, channels, height, width)`, or `(batch, classes)` for a classifier.
        """
        values: list[Tensor | None] = [x]
        for index, (node, name, freed) in enumerate(self._plan, 1):
            inputs = [_not_freed(values[i]) for i in node.inputs]
            if index in self.input_filters:
                inputs = self.input_filters[index](inputs)
            module = None if name is None else self._modules[name]
            values.append(compute_without_parameters(node, inputs) if module is None else module(inputs[0]))
            # To keep the peak memory of inference low.
            for i in freed:
                values[i] = None
        return _not_freed(values[self.program.output])


def _last_uses(program: Program) -> dict[int, int]:
    """Return the last node that reads each value, by their numbers; the output is read after the last node."""
    last = {value: position for position, node in enumerate(program.nodes, 1) for value in node.inputs}
    last[program.output] = len(program.nodes) + 1
    return last


def _not_freed(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


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
            for key, tensor in deployed_weights(module).items():
                weights[f"{target}.{key}"] = tensor.cpu().contiguous().numpy()
        offset += len(block.program.nodes)
    return weights


def load_exported_weights(
    blocks: Sequence[ProgramModule], weights: Mapping[str, npt.NDArray[np.float32]]
) -> None:
    """Set the weights of blocks in sequence from those of the ONNX graph of their chained program, in place.

    Batch normalisation behind a convolution passes values on and adds the bias; its running mean becomes 0 and its
    running variance 1.

    Args:
        blocks: Modules in evaluation order.
        weights: Weights by name, as `exported_weights` returns them.

    Raises:
        SpaceError: A weight is missing, has another shape, or there is a bias that the module has no place for.
    """
    offset = 0
    for block in blocks:
        for name, module in block.named_children():
            target = f"n{int(name[1:]) + offset}"
            tensors = {
                key: torch.from_numpy(np.array(weights[f"{target}.{key}"]))
                for key in ("weight", "bias")
                if f"{target}.{key}" in weights
            }
            try:
                load_deployed(module, tensors)
            except (KeyError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise SpaceError(f"the weights of {target} do not fit: {reason}") from error
        offset += len(block.program.nodes)


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
