"""The optimiser of a recipe, and its state by the names of the parameters."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nascli.supernet.training.recipe import Recipe


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a module's parameters.

    Args:
        module: Module to train.
        recipe: Recipe that names the optimiser, the highest learning rate, and the weight decay.
    """
    parameters = list(module.parameters())
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters, lr=recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as tensors named ``PARAMETER/KEY``.

    Parameters that no step has used have no state. PyTorch's own document of the state numbers the parameters; names
    fit a safetensors file, and survive a change of order.

    Args:
        module: Module that the optimiser trains.
        optimizer: Optimiser from `make_optimizer`.
    """
    return {
        f"{name}/{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Restore an optimiser's state from the tensors of `optimizer_tensors`."""
    parameters = dict(module.named_parameters())
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition("/")
        parameter = parameters[name]
        if value.shape == parameter.shape:
            # In the memory format of the parameter, on which the order of sums depends.
            restored = torch.empty_like(parameter).detach()
            restored.copy_(value)
        else:
            restored = value.clone()
        optimizer.state[parameter][key] = restored
