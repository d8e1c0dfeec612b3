"""A watch over losses and gradients that are not finite, for which no step waits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Health:
    """What was found when the watch was read.

    Attributes:
        loss: Loss of the last step, or of the first step at which it was not finite.
        failed: What was not finite first: 'loss' or 'norm of the gradient'; None if all was.
        value: Its value.
        steps: Number of steps before that one, since the watch was read last.
    """

    loss: float
    failed: str | None = None
    value: float = math.nan
    steps: int = 0


class FiniteWatch:
    """Collects the loss and the gradient's norm of each step on the device.

    Reading it is the only thing that waits for the device. The step at which something was not finite is known all the
    same, since steps are counted on the device until then.

    Args:
        device: Device of the losses.
    """

    def __init__(self, device: torch.device) -> None:
        # The loss, and the norm: the newest values, or the first ones that are not finite.
        self._values = torch.full((2,), math.nan, device=device)
        self._finite = torch.ones(2, dtype=torch.bool, device=device)
        self._steps = torch.zeros(2, device=device)

    def record(self, loss: Tensor, norm: Tensor) -> None:
        """Add a step.

        Args:
            loss: Loss of the step, a scalar without a graph.
            norm: Norm of its gradient, a scalar.
        """
        values = torch.stack((loss, norm))
        self._values = torch.where(self._finite, values, self._values)
        self._finite.logical_and_(values.isfinite())
        self._steps.add_(self._finite)

    def read(self) -> Health:
        """Return what has been found, and count steps anew."""
        values, steps = torch.stack((self._values, self._steps)).tolist()
        if math.isfinite(values[0]) and math.isfinite(values[1]):
            self._steps.zero_()
            return Health(values[0])
        # A loss that is not finite has no finite gradient either.
        first = 1 if steps[1] < steps[0] else 0
        return Health(values[0], ("loss", "norm of the gradient")[first], values[first], int(steps[first]))

    @property
    def loss(self) -> float:
        """Loss of the last step; NaN before the first one. The host waits for it."""
        return float(self._values[0])
