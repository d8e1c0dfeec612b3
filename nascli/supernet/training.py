"""One training loop for supernets and plain networks, resumable bit for bit at any step.

Data order, augmentation and the sampled path of a step follow from the seed and the step's number alone,
so a checkpoint is the weights, the optimiser's momentum, and how many steps are done.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.errors import CheckpointError, NascliError, TrainingError
from nascli.progress import Progress
from nascli.supernet import checkpoint
from nascli.supernet.data import Split, shifted

_SAVE_EVERY_SECONDS = 5.0
PathOf = Callable[[int], Sequence[int]]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the training part.
        batch: images per step.
        rate: the highest learning rate, of SGD with Nesterov momentum 0.9.
        warmup: share of all steps over which the rate rises from 0; then it falls by a cosine to 0.
        weight_decay: L2 penalty.
        label_smoothing: share of the target spread over all classes.
        shift: augmentation, in pixels.
        clip: largest norm of the gradient.
    """

    epochs: int
    batch: int = 64
    rate: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 4e-5
    label_smoothing: float = 0.1
    shift: int = 2
    clip: float = 5.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2:
            raise NascliError(f"epochs >= 1 and batch >= 2 must hold, got {self.epochs} and {self.batch}")

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def digest(*parts: object) -> str:
    """A digest of settings, to tell whether a checkpoint belongs to them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=asdict).encode()).hexdigest()[:32]


class Trainer:
    """Trains a module; `path` names the architecture of each step of a supernet."""

    def __init__(
        self, module: nn.Module, data: Split, recipe: Recipe, *, seed: int, path: PathOf | None = None
    ) -> None:
        self.module = module.to(memory_format=torch.channels_last)
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.path = path
        self.step = 0
        self._optimizer = torch.optim.SGD(
            module.parameters(), lr=recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
        self.per_epoch = max(1, len(data) // recipe.batch)
        self.steps = self.per_epoch * recipe.epochs

    def run(self, file: Path, identity: str, progress: Progress, task: str) -> None:
        """Train to the end, saving every few seconds; goes on where a saved run of `identity` stopped.

        Raises:
            TrainingError: a loss that is not finite; the last checkpoint is kept.
            CheckpointError: a checkpoint that belongs to other settings.
        """
        if file.exists():
            self._restore(file, identity)
        progress.start(task, self.steps)
        progress.advance(self.step)
        saved = time.monotonic()
        for images, labels in self._batches():
            loss = self._train_step(images, labels)
            self.step += 1
            progress.advance(1, f"loss {loss:.3f}")
            if time.monotonic() - saved > _SAVE_EVERY_SECONDS or self.step == self.steps:
                self._save(file, identity)
                saved = time.monotonic()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order: npt.NDArray[np.int64] | None = None
        while self.step < self.steps:
            epoch, index = divmod(self.step, self.per_epoch)
            if order is None or index == 0:
                order = np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.data))
            chosen = torch.from_numpy(order[index * self.recipe.batch : (index + 1) * self.recipe.batch])
            rng = np.random.default_rng([self.seed, 2, self.step])
            images = shifted(self.data.images[chosen], rng, self.recipe.shift)
            yield images.contiguous(memory_format=torch.channels_last), self.data.labels[chosen]

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        self.module.train()
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.steps)
        self._optimizer.zero_grad(set_to_none=True)
        logits = self.module(images) if self.path is None else self.module(images, self.path(self.step))
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise self._diverged("loss", value)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip))
        if not math.isfinite(norm):
            raise self._diverged("norm of the gradient", norm)
        self._optimizer.step()
        return value

    def _diverged(self, what: str, value: float) -> TrainingError:
        return TrainingError(
            f"the {what} is {value} at step {self.step} of {self.steps}.",
            f"Lower the learning rate (now {self.recipe.rate}); the last good checkpoint is kept.",
        )

    def _save(self, file: Path, identity: str) -> None:
        tensors = {f"module/{k}": v for k, v in self.module.state_dict().items()}
        for name, parameter in self.module.named_parameters():
            momentum = self._optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum/{name}"] = momentum
        checkpoint.save(file, tensors, {"identity": identity, "step": self.step, "steps": self.steps})

    def _restore(self, file: Path, identity: str) -> None:
        tensors, state = checkpoint.load(file)
        if state.get("identity") != identity:
            raise CheckpointError(
                f"{file} belongs to another space, data set, recipe or seed.", "Remove it to train anew."
            )
        load_module(self.module, tensors)
        for name, parameter in self.module.named_parameters():
            momentum = tensors.get(f"momentum/{name}")
            if momentum is not None:
                buffer = torch.empty_like(parameter)
                buffer.copy_(momentum)
                self._optimizer.state[parameter]["momentum_buffer"] = buffer
        self.step = int(state["step"])


def load_module(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load the ``module/`` tensors of a checkpoint.

    Raises:
        CheckpointError: names or shapes that do not fit.
    """
    own = {name[7:]: tensor for name, tensor in tensors.items() if name.startswith("module/")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint does not fit the network: {error}") from error


def finished(file: Path, identity: str) -> bool:
    """Whether a checkpoint holds a completed training of these settings."""
    if not file.exists():
        return False
    _, state = checkpoint.load(file)
    return state.get("identity") == identity and state.get("step") == state.get("steps")
