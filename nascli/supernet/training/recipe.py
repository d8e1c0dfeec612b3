"""How supernets and networks are trained, as data; imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nascli.errors import NascliError

OPTIMIZERS, SCHEDULES = ("sgd", "adam"), ("cosine", "linear")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the training part.
        batch: images per step.
        rate: the highest learning rate.
        warmup: share of all steps over which the rate rises from 0; then it falls to `floor`.
        weight_decay: L2 penalty.
        label_smoothing: share of the target spread over all classes.
        shift: augmentation, in pixels.
        clip: largest norm of the gradient.
        optimizer: 'sgd' with Nesterov momentum 0.9, or 'adam'.
        schedule: how the rate falls: 'cosine' or 'linear'.
        floor: the rate at the end.
        mixup: parameter of the Beta distribution that mixes pairs of images (Zhang et al. 2018); 0: none.
        ema: decay of an exponential average of the weights, which is then the result; 0: none.
        accumulate: a step's batch is passed in so many parts.
        amp: bfloat16 where torch finds it safe.
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
            raise NascliError(f"epochs >= 1 and batch >= 2 must hold, got {self.epochs} and {self.batch}")
        if self.accumulate < 1 or self.batch // self.accumulate < 2:
            raise NascliError(
                f"a batch of {self.batch} cannot be passed in {self.accumulate} parts of 2 or more"
            )
        if self.optimizer not in OPTIMIZERS or self.schedule not in SCHEDULES:
            raise NascliError(
                f"optimizer is one of {', '.join(OPTIMIZERS)} and schedule one of {', '.join(SCHEDULES)}, got "
                f"{self.optimizer!r} and {self.schedule!r}"
            )
        if not (0 <= self.ema < 1 and self.mixup >= 0 and 0 <= self.floor <= self.rate):
            raise NascliError(
                f"0 <= ema < 1, mixup >= 0 and 0 <= floor <= rate must hold, got {self.ema}, {self.mixup}, "
                f"{self.floor} and {self.rate}"
            )

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        done = (step - rising) / max(1, steps - rising)
        left = 1 - done if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
        return self.floor + (self.rate - self.floor) * left


@dataclass(frozen=True)
class ArchitectureParameterSettings:
    """How indicators are learned.

    Attributes:
        rate: of Adam; the paper has 0.1, its code 0.005.
        betas: of Adam; the code has (0, 0.999).
        start: share of a round's training after which indicators begin to move.
        weight: of the squared relative excess of the resource demand; None is the paper's: its alpha is 1e-5 for
            millions of MACs at a target of 300 (0.9 relative) and 2e-2 for milliseconds at 7 (0.98 relative).
    """

    rate: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    weight: float | None = None
    start: float = 0.0

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise NascliError(f"betas are two numbers from 0 to below 1, got {self.betas}")
        if self.rate < 0 or (self.weight is not None and self.weight < 0) or not 0 <= self.start < 1:
            raise NascliError(
                f"rate >= 0, weight >= 0 and 0 <= start < 1 must hold, got {self.rate}, {self.weight} and {self.start}"
            )
