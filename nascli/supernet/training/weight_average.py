"""An exponential moving average of a network's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of a module's floating-point parameters and buffers.

    Args:
        module: Module whose weights are averaged, on its device. Its parameters and buffers are changed in place, and
            not replaced, while the average is used.
        decay: Weight of the average against the newest weights, at least 0 and below 1; 0 keeps no average.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._module = module
        self._decay = decay
        # Found once: a step that walks the module would take longer than the average itself.
        self._weights = (
            {k: v for k, v in module.state_dict().items() if v.is_floating_point()} if decay else {}
        )
        self._average = {k: v.clone() for k, v in self._weights.items()}

    def update(self, step: int) -> None:
        """Move the average towards the weights.

        Args:
            step: Number of the training step, from 0. The decay rises over the first steps, so that the average forgets
                the initial weights.
        """
        if not self._average:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self._average.values()), list(self._weights.values()), 1 - decay)

    def apply(self) -> None:
        """Replace the module's weights by their average; do nothing if none is kept."""
        self._replace_weights(self._average)

    @contextmanager
    def applied(self) -> Iterator[nn.Module]:
        """Give the module its averaged weights inside the context, and then its own again."""
        own = {name: tensor.clone() for name, tensor in self._weights.items()}
        self.apply()
        try:
            yield self._module
        finally:
            self._replace_weights(own)

    def _replace_weights(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in values.items():
                self._weights[name].copy_(value)

    def tensors(self) -> dict[str, Tensor]:
        """Return the average of each weight, by the names of the module's state; empty if none is kept."""
        return dict(self._average)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the average from the tensors of `tensors`."""
        for name, value in tensors.items():
            self._average[name].copy_(value)
