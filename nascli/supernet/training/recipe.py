"""How networks and supernets are trained, as data. This module does not import torch."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields
from typing import Any

from nascli.errors import NascliError

OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
SCHEDULES = ("cosine", "linear", "exponential", "steps", "constant")
POLICIES = ("none", "autoaugment", "randaugment")
AMP_TYPES = ("bfloat16", "float16")

# The fields that every document of a recipe has. Fields that came later are written only where they differ from their
# defaults, so that digests and settings of recipes that do not use them stay as they were.
_FIRST_FIELDS = frozenset(
    {
        "epochs", "batch", "rate", "warmup", "weight_decay", "label_smoothing", "shift", "clip", "optimizer",
        "schedule", "floor", "mixup", "ema", "accumulate", "amp",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How a network or a supernet is trained.

    Attributes:
        epochs: Number of passes over the training part, at least 1.
        batch: Number of images per step, at least 2; of all processes together.
        rate: Highest learning rate.
        warmup: Share of all steps over which the learning rate rises linearly from 0; afterwards it falls to `floor`.
        weight_decay: Coefficient of the L2 penalty on the weights.
        label_smoothing: Share of the target that is spread evenly over all classes.
        shift: Largest distance, in pixels, by which images are moved as augmentation.
        clip: Largest norm of the gradient; a longer gradient is scaled down. 0 leaves gradients as they are.
        optimizer: 'sgd' with momentum, 'adam', 'adamw' (decoupled weight decay), or 'rmsprop'.
        schedule: How the learning rate falls: 'cosine', 'linear', 'exponential' (`decay` after every `decay_epochs`),
            'steps' (`decay` at each of `milestones`), or 'constant'.
        floor: Learning rate at the end of 'cosine' and 'linear', at most `rate`.
        mixup: Parameter of the Beta distribution by which pairs of images are mixed (Zhang et al. 2018); 0 mixes none.
        ema: Decay of an exponential moving average of the weights, which is then the result; 0 keeps no average.
        accumulate: Number of parts in which the batch of a step is computed, each of at least 2 images.
        amp: Whether to compute in `amp_type` where torch considers it safe.
        amp_type: 'bfloat16', or 'float16' with a scaled loss.
        momentum: Momentum of 'sgd' and 'rmsprop'.
        nesterov: Whether the momentum of 'sgd' is Nesterov's.
        betas: Decay rates of the moments of 'adam' and 'adamw'; the second one is also the one of 'rmsprop'.
        epsilon: Term in the denominator of 'adam', 'adamw', and 'rmsprop'.
        decay: Factor of the schedules 'exponential' and 'steps'.
        decay_epochs: Epochs after which that factor applies once, of 'exponential'.
        milestones: Shares of all steps, rising, at which that factor applies once each, of 'steps'.
        decay_all: Whether the weight decay also applies to biases and to scales and shifts of normalisation.
        crop: Smallest share of an image's area that a random resized crop takes (Szegedy et al. 2015); 0 crops none.
        pad: Pixels of zeros around an image, out of which a crop of its size is taken at random.
        flip: Whether images are mirrored horizontally with probability one half.
        flip_vertical: Whether images are mirrored vertically too, for images without an upper side.
        jitter: Largest relative change of brightness, contrast, and saturation.
        policy: 'autoaugment' (Cubuk et al. 2019, its ImageNet policy), 'randaugment' (Cubuk et al. 2020), or 'none'.
        operations: Operations of 'randaugment' per image.
        magnitude: Magnitude of 'randaugment', from 0 to 30.
        erasing: Probability that a random rectangle of an image is erased (Zhong et al. 2020).
        cutout: Side, in pixels, of a square that is set to the mean at a random place (DeVries and Taylor 2017); 0 for
            none.
        cutmix: Parameter of the Beta distribution by which patches are exchanged between images (Yun et al. 2019); 0
            exchanges none. With mixup too, each batch is treated by one of them at random.
        dropout: Probability with which an input of the classifier is set to 0.
        drop_path: Probability with which the last residual branch is left out for an image; it rises linearly over
            the depth (Huang et al. 2016).
        synchronised: Whether batch normalisation uses the batch of all processes: 'yes', 'no', or 'auto', which
            synchronises where a process has fewer than 16 images of a step.

    Raises:
        NascliError: A value is outside its range.
    """

    epochs: int
    batch: int = 64
    rate: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    shift: int = 0
    clip: float = 0.0
    optimizer: str = "sgd"
    schedule: str = "cosine"
    floor: float = 0.0
    mixup: float = 0.0
    ema: float = 0.0
    accumulate: int = 1
    amp: bool = False
    amp_type: str = "bfloat16"
    momentum: float = 0.9
    nesterov: bool = True
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    decay: float = 0.97
    decay_epochs: float = 2.4
    milestones: tuple[float, ...] = ()
    decay_all: bool = True
    crop: float = 0.0
    pad: int = 0
    flip: bool = False
    jitter: float = 0.0
    policy: str = "none"
    operations: int = 2
    magnitude: int = 9
    erasing: float = 0.0
    cutout: int = 0
    cutmix: float = 0.0
    dropout: float = 0.0
    drop_path: float = 0.0
    synchronised: str = "auto"
    flip_vertical: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise NascliError(f"epochs >= 1 and batch >= 2 must hold, got {self.epochs} and {self.batch}.")
        if self.accumulate < 1 or self.batch // self.accumulate < 2:
            raise NascliError(
                f"a batch of {self.batch} cannot be computed in {self.accumulate} parts of 2 or more images."
            )
        for name, known in (
            ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("policy", POLICIES), ("amp_type", AMP_TYPES),
            ("synchronised", ("yes", "no", "auto")),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise NascliError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        for field in fields(self):
            value = getattr(self, field.name)
            for number in value if isinstance(value, tuple) else (value,):
                if isinstance(number, float) and not math.isfinite(number):
                    raise NascliError(f"{field.name} must be finite, got {value}.")
        for name in ("ema", "momentum", "dropout", "drop_path", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise NascliError(f"0 <= {name} < 1 must hold, got {getattr(self, name)}.")
        for name in ("crop", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise NascliError(f"0 <= {name} <= 1 must hold, got {getattr(self, name)}.")
        for name in ("warmup", "weight_decay", "shift", "clip", "mixup", "cutmix", "pad", "jitter", "cutout"):
            if not getattr(self, name) >= 0:
                raise NascliError(f"{name} >= 0 must hold, got {getattr(self, name)}.")
        if not 0 <= self.floor <= self.rate:
            raise NascliError(f"0 <= floor <= rate must hold, got {self.floor} and {self.rate}.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise NascliError(f"betas must be two numbers, each at least 0 and below 1, got {self.betas}.")
        if not (0 < self.decay <= 1 and self.decay_epochs > 0 and self.epsilon > 0):
            raise NascliError(
                f"0 < decay <= 1, decay_epochs > 0, and epsilon > 0 must hold, got {self.decay}, "
                f"{self.decay_epochs}, and {self.epsilon}."
            )
        between = all(0 < share < 1 for share in self.milestones)
        if not between or list(self.milestones) != sorted(set(self.milestones)):
            raise NascliError(
                f"milestones must be rising shares, each above 0 and below 1, got {self.milestones}."
            )
        if self.schedule == "steps" and not self.milestones:
            raise NascliError("the schedule 'steps' needs milestones, such as (0.3, 0.6, 0.8), and has none.")
        if self.operations < 1 or not 0 <= self.magnitude <= 30:
            raise NascliError(
                f"operations >= 1 and 0 <= magnitude <= 30 must hold, got {self.operations} and {self.magnitude}."
            )

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as a JSON document, without fields that are at the defaults with which they were added."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name in _FIRST_FIELDS
            or field.default is MISSING
            or getattr(self, field.name) != field.default
        }

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step.

        Args:
            step: Number of the step, from 0.
            steps: Number of steps of the whole training.
        """
        warmup_steps = max(1, round(self.warmup * steps))
        if step < warmup_steps:
            return self.rate * (step + 1) / warmup_steps
        if self.schedule == "constant":
            return self.rate
        if self.schedule == "exponential":
            epoch = self.epochs * step / steps
            return self.rate * self.decay ** math.floor(epoch / self.decay_epochs)
        if self.schedule == "steps":
            return self.rate * self.decay ** sum(step / steps >= share for share in self.milestones)
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
