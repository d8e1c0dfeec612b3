"""The optimiser of a recipe, and its state by the names of the parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nascli.supernet.training.recipe import Recipe


def make_optimizer(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimiser of a module's parameters.

    On an NVIDIA card it is fused, where PyTorch has a fused one: each step is a few kernels for all parameters.

    Args:
        module: Module to train, on its device.
        recipe: Recipe that names the optimiser and its settings.
    """
    groups = parameter_groups(module, recipe)
    fused = all(parameter.device.type == "cuda" for parameter in module.parameters())
    kernels: dict[str, Any] = {"fused": True} if fused else {}
    rate, epsilon = recipe.rate, recipe.epsilon
    match recipe.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=recipe.betas, eps=epsilon, **kernels)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=recipe.betas, eps=epsilon, **kernels)
        case "rmsprop":
            return torch.optim.RMSprop(
                groups, lr=rate, alpha=recipe.betas[1], eps=epsilon, momentum=recipe.momentum
            )
        case _:
            nesterov = recipe.nesterov and recipe.momentum > 0
            return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=nesterov, **kernels)


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return a module's parameters in groups with their weight decay.

    Without `decay_all`, biases and the scales and shifts of normalisation do not decay: they are the parameters with at
    most one dimension, as are layer scales and clipping heights.

    Args:
        module: Module to train.
        recipe: Recipe with the weight decay.
    """
    parameters = list(module.parameters())
    if recipe.decay_all:
        return [{"params": parameters, "weight_decay": recipe.weight_decay}]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def begin_momenta(optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter]) -> None:
    """Give parameters that are stepped for the first time a momentum of 0, if the optimiser is fused SGD.

    PyTorch's fused SGD takes momenta from all of a step's parameters or from none, and the path of a supernet has both
    kinds. The step is the same: it multiplies the momentum and adds the gradient.

    Args:
        optimizer: Optimiser from `make_optimizer`.
        parameters: Parameters of the next step.
    """
    settings = optimizer.param_groups[0]
    if not (isinstance(optimizer, torch.optim.SGD) and settings["fused"] and settings["momentum"]):
        return
    for parameter in parameters:
        state = optimizer.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter).detach()


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
    """Restore an optimiser's state from the tensors of `optimizer_tensors`, which may come from another device."""
    parameters = dict(module.named_parameters())
    fused = any(group.get("fused") for group in optimizer.param_groups)
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition("/")
        parameter = parameters[name]
        if key == "step":
            # Fused optimisers count steps on the device, the others on the host.
            restored = value.clone().to(parameter.device if fused else "cpu")
        elif value.shape == parameter.shape:
            # In the memory format of the parameter, on which the order of sums depends.
            restored = torch.empty_like(parameter).detach()
            restored.copy_(value)
        else:
            restored = value.clone().to(parameter.device)
        optimizer.state[parameter][key] = restored
