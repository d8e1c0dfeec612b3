"""What quantities learned beside a supernet's weights share: frozen weights while they step, and resumable Adam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_ADAM = ("step", "exp_avg", "exp_avg_sq")


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """The module's parameters get no gradients inside."""
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def learned_state(thetas: Sequence[Tensor], optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Values and Adam's moments, by name."""
    found: dict[str, Tensor] = {}
    for number, theta in enumerate(thetas):
        found[f"theta{number}"] = theta.detach().clone()
        found |= {f"adam{number}/{key}": value.clone() for key, value in optimizer.state[theta].items()}
    return found


def load_learned(thetas: Sequence[Tensor], optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    """Go on from `learned_state`."""
    for number, theta in enumerate(thetas):
        with torch.no_grad():
            theta.copy_(tensors[f"theta{number}"])
        for key in _ADAM:
            if f"adam{number}/{key}" in tensors:
                optimizer.state[theta][key] = tensors[f"adam{number}/{key}"].clone()
