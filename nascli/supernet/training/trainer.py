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
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.errors import CheckpointError, TrainingError
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.supernet.data.batches import shifted
from nascli.supernet.data.images import ImageSplit
from nascli.supernet.modules import load_module
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint, save_checkpoint
from nascli.supernet.training.recipe import Recipe

_SAVE_EVERY_SECONDS = 5.0
PathOf = Callable[[int], Sequence[int]]
After = Callable[[int], None]


class CompanionState(Protocol):
    """State that is trained beside the weights."""

    def state(self) -> dict[str, Tensor]:
        """As tensors."""

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Back from `state`."""


def settings_digest(*parts: object) -> str:
    """A digest of settings, to tell whether a checkpoint belongs to them."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=asdict).encode()).hexdigest()[:32]


class Trainer:
    """Trains a module; `path` names the architecture of each step of a supernet.

    Under torchrun every process takes its share of each batch, all follow the same path, and gradients are
    averaged; the first process alone writes checkpoints.

    Args:
        module: what to train.
        data: images and labels.
        recipe: how.
        seed: of data order, augmentation and mixing.
        path: the architecture of a step; None for a plain network.
        after: called with a step's number when it is done, such as for the steps of other parameters.
        beside: other state that belongs to the same step and is kept in the same checkpoint.
        steps: in all; by default the recipe's epochs.
    """

    def __init__(
        self,
        module: nn.Module,
        data: ImageSplit,
        recipe: Recipe,
        *,
        seed: int,
        path: PathOf | None = None,
        after: After | None = None,
        beside: CompanionState | None = None,
        steps: int | None = None,
    ) -> None:
        self.module = module.to(memory_format=torch.channels_last)
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.path = path
        self.after = after
        self.beside = beside
        self.step = 0
        # Of the last step; not a part of checkpoints.
        self.loss = math.nan
        self._parameters = list(module.parameters())
        self._optimizer = _optimizer(self._parameters, recipe)
        self._average = {k: v.clone() for k, v in _floats(module)} if recipe.ema else {}
        self.per_epoch = max(1, len(data) // recipe.batch)
        self.steps = steps if steps is not None else self.per_epoch * recipe.epochs

    def run(
        self, file: Path | None, identity: str, progress: Progress, task: str, until: int | None = None
    ) -> None:
        """Train to the end, saving every few seconds; goes on where a saved run of `identity` stopped.

        Args:
            file: the checkpoint; None keeps nothing.
            identity: what the checkpoint belongs to.
            progress: is shown the loss.
            task: what is being trained, for people.
            until: stop after that many steps instead.

        Raises:
            TrainingError: a loss that is not finite; the last checkpoint is kept.
            CheckpointError: a checkpoint that belongs to other settings.
        """
        end = self.steps if until is None else min(until, self.steps)
        if file is not None and file.exists():
            self.restore(file, identity)
        self.module.train()
        for parameter in self._parameters:
            parameter.grad = None
        progress.start(task, end)
        progress.advance(min(self.step, end))
        saved = time.monotonic()
        for images, labels in self._batches(end):
            loss = self.loss = self._train_step(images, labels)
            if self.after is not None:
                self.after(self.step)
            self.step += 1
            progress.advance(1, f"loss {loss:.3f}")
            if file is not None and (time.monotonic() - saved > _SAVE_EVERY_SECONDS or self.step == end):
                self.save(file, identity)
                saved = time.monotonic()
        # The others read the file as soon as this returns.
        distributed.wait_for_all()

    def _batches(self, end: int) -> Iterator[tuple[Tensor, Tensor]]:
        order: npt.NDArray[np.int64] | None = None
        while self.step < end:
            epoch, index = divmod(self.step, self.per_epoch)
            if order is None or index == 0:
                order = generator(self.seed, RandomStream.DATA_ORDER, epoch).permutation(len(self.data))
            chosen = torch.from_numpy(order[index * self.recipe.batch : (index + 1) * self.recipe.batch])
            rng = generator(self.seed, RandomStream.AUGMENTATION, self.step)
            images, labels = (
                shifted(self.data.images[chosen], rng, self.recipe.shift),
                self.data.labels[chosen],
            )
            mine = distributed.share(len(labels))
            yield images[mine].contiguous(memory_format=torch.channels_last), labels[mine]

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.steps)
        value = 0.0
        parts = self.recipe.accumulate
        for part, (x, y) in enumerate(zip(images.chunk(parts), labels.chunk(parts), strict=True)):
            loss = self._loss(x, y, part) * (len(y) / len(labels))
            value += float(loss.detach())
            if not math.isfinite(value):
                raise self._diverged("loss", value)
            loss.backward()  # type: ignore[no-untyped-call]
        # A supernet has many times the parameters of a path: what the step did not touch is not walked over.
        touched = [p for p in self._parameters if p.grad is not None]
        distributed.average_gradients(touched)
        norm = float(nn.utils.clip_grad_norm_(touched, self.recipe.clip))
        if not math.isfinite(norm):
            raise self._diverged("norm of the gradient", norm)
        self._optimizer.step()
        for parameter in touched:
            parameter.grad = None
        self._follow()
        return value

    def _loss(self, images: Tensor, labels: Tensor, part: int) -> Tensor:
        smoothing = self.recipe.label_smoothing
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.recipe.amp):
            if self.recipe.mixup:
                rng = generator(self.seed, RandomStream.MIXUP, self.step, part)
                share = float(rng.beta(self.recipe.mixup, self.recipe.mixup))
                partner = torch.from_numpy(rng.permutation(len(labels)))
                logits = self._forward(share * images + (1 - share) * images[partner])
                first = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
                second = F.cross_entropy(logits.float(), labels[partner], label_smoothing=smoothing)
                return share * first + (1 - share) * second
            logits = self._forward(images)
            return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)

    def _forward(self, images: Tensor) -> Tensor:
        result: Tensor = (
            self.module(images) if self.path is None else self.module(images, self.path(self.step))
        )
        return result

    def _follow(self) -> None:
        """Move the average towards the weights (the rate rises at first, so that it forgets the start)."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, tensor in _floats(self.module) if self._average else ():
                self._average[name].lerp_(tensor, 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The module with its averaged weights inside, where the recipe keeps an average; then as it was."""
        own = {name: tensor.clone() for name, tensor in _floats(self.module)} if self._average else {}
        self.use_average()
        try:
            yield self.module
        finally:
            with torch.no_grad():
                for name, tensor in _floats(self.module) if own else ():
                    tensor.copy_(own[name])

    def use_average(self) -> None:
        """Put the averaged weights into the module, where the recipe keeps an average."""
        with torch.no_grad():
            for name, tensor in _floats(self.module) if self._average else ():
                tensor.copy_(self._average[name])

    def _diverged(self, what: str, value: float) -> TrainingError:
        return TrainingError(
            f"the {what} is {value} at step {self.step} of {self.steps}.",
            f"Lower the learning rate (now {self.recipe.rate}); the last good checkpoint is kept.",
        )

    def save(self, file: Path, identity: str) -> None:
        """Write weights, optimiser, average and the step's number."""
        if not distributed.is_first():
            return
        tensors = {f"module/{k}": v for k, v in self.module.state_dict().items()}
        for name, parameter in self.module.named_parameters():
            for key, value in self._optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{name}/{key}"] = value
        tensors |= {f"average/{k}": v for k, v in self._average.items()}
        if self.beside is not None:
            tensors |= {f"beside/{k}": v for k, v in self.beside.state().items()}
        save_checkpoint(file, tensors, {"identity": identity, "step": self.step, "steps": self.steps})

    def restore(self, file: Path, identity: str) -> None:
        """Go on from a checkpoint.

        Raises:
            CheckpointError: it belongs to other settings.
        """
        tensors, state = load_checkpoint(file)
        if state.get("identity") != identity:
            raise CheckpointError(
                f"{file} belongs to another space, data set, recipe or seed.", "Remove it to train anew."
            )
        load_module(self.module, tensors)
        parameters = dict(self.module.named_parameters())
        for full, value in tensors.items():
            kind, _, rest = full.partition("/")
            if kind == "optimizer":
                name, _, key = rest.rpartition("/")
                parameter = parameters[name]
                kept = value.clone()
                if value.shape == parameter.shape:
                    kept = torch.empty_like(parameter)
                    kept.detach().copy_(value)
                    kept = kept.detach()
                self._optimizer.state[parameter][key] = kept
            elif kind == "average":
                self._average[rest].copy_(value)
        if self.beside is not None:
            self.beside.load({k[7:]: v for k, v in tensors.items() if k.startswith("beside/")})
        self.step = int(state["step"])


def _optimizer(parameters: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters, lr=recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )


def _floats(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [(k, v) for k, v in module.state_dict(keep_vars=False).items() if v.is_floating_point()]


def is_trained(file: Path, identity: str) -> bool:
    """Whether a checkpoint holds a completed training of these settings."""
    if not file.exists():
        return False
    _, state = load_checkpoint(file)
    return state.get("identity") == identity and state.get("step") == state.get("steps")
