"""How networks and supernets are trained, as data. This module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nascli.errors import NascliError

OPTIMIZERS, SCHEDULES = ("sgd", "adam"), ("cosine", "linear")


@dataclass(frozen=True)
class Recipe:
    """How a network or a supernet is trained.

    Attributes:
        epochs: Number of passes over the training part, at least 1.
        batch: Number of images per step, at least 2.
        rate: Highest learning rate.
        warmup: Share of all steps over which the learning rate rises linearly from 0; afterwards it falls to `floor`.
        weight_decay: Coefficient of the L2 penalty on the weights.
        label_smoothing: Share of the target that is spread evenly over all classes.
        shift: Largest distance, in pixels, by which images are moved as augmentation.
        clip: Largest norm of the gradient; a longer gradient is scaled down.
        optimizer: 'sgd' with Nesterov momentum 0.9, or 'adam'.
        schedule: How the learning rate falls: 'cosine' or 'linear'.
        floor: Learning rate at the end, at most `rate`.
        mixup: Parameter of the Beta distribution by which pairs of images are mixed (Zhang et al. 2018); 0 mixes none.
        ema: Decay of an exponential moving average of the weights, which is then the result; 0 keeps no average.
        accumulate: Number of parts in which the batch of a step is computed, each of at least 2 images.
        amp: Whether to compute in bfloat16 where torch considers it safe.

    Raises:
        NascliError: A value is outside its range.
    """

    epochs: int
    batch: int = 64
    rate: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    shift: int = 2
    clip: float = 5.0
    optimizer: str = "sgd"
    schedule: str = "cosine"
    floor: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    accumulate: int = 1
    amp: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise NascliError(f"epochs >= 1 and batch >= 2 must hold, got {self.epochs} and {self.batch}.")
        if self.accumulate < 1 or self.batch // self.accumulate < 2:
            raise NascliError(
                f"a batch of {self.batch} cannot be computed in {self.accumulate} parts of 2 or more images."
            )
        if self.optimizer not in OPTIMIZERS or self.schedule not in SCHEDULES:
            raise NascliError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, and schedule one of {', '.join(SCHEDULES)}, got "
                f"{self.optimizer!r} and {self.schedule!r}."
            )
        if not (0 <= self.ema < 1 and self.mixup >= 0 and 0 <= self.floor <= self.rate):
            raise NascliError(
                f"0 <= ema < 1, mixup >= 0, and 0 <= floor <= rate must hold, got {self.ema}, {self.mixup}, "
                f"{self.floor}, and {self.rate}."
            )

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: Number of the step, from 0.
            steps: Number of steps of the whole training.
        """
        warmup_steps = max(1, round(self.warmup * steps))
        if step < warmup_steps:
            return self.rate * (step + 1) / warmup_steps
        progress = (step - warmup_steps) / max(1, steps - warmup_steps)
        remaining = 1 - progress if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
        return self.floor + (self.rate - self.floor) * remaining


@dataclass(frozen=True)
class ArchitectureParameterSettings:
    """How architecture parameters, such as NSE's fitness indicators, are learned by Adam.

    Attributes:
        rate: Learning rate, at least 0. NSE's paper has 0.1, its code 0.005.
        betas: Decay rates of Adam's moments, each at least 0 and below 1. NSE's code has (0, 0.999).
        start: Share of a round's training, below 1, before which the parameters do not change.
        weight: Weight of the squared relative excess of the resource demand in the loss. None is NSE's own: its alpha
            is 1e-5 for millions of MACs at a target of 300 (0.9 relative), and 2e-2 for milliseconds at a target of 7
            (0.98 relative).

    Raises:
        NascliError: A value is outside its range.
    """

    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    weight: float | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise NascliError(f"betas must be two numbers, each at least 0 and below 1, got {self.betas}.")
        if self.rate < 0 or (self.weight is not None and self.weight < 0) or not 0 <= self.start < 1:
            raise NascliError(
                f"rate >= 0, weight >= 0, and 0 <= start < 1 must hold, got {self.rate}, {self.weight}, "
                f"and {self.start}."
            )
