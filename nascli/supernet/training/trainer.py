"""The training loop of supernets and plain networks, which resumes bit for bit after any step.

Data order, augmentation, and the architecture of a step follow from the seed and the step's number alone. So a
checkpoint needs the weights, the optimiser's state, and the number of completed steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nascli.errors import CheckpointError, TrainingError
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.supernet.data.batches import shift_images
from nascli.supernet.data.images import ImageSplit
from nascli.supernet.modules import load_module
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint, save_checkpoint
from nascli.supernet.training.loss import BatchLoss
from nascli.supernet.training.optimizers import load_optimizer_tensors, make_optimizer, optimizer_tensors
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.weight_average import WeightAverage

_SAVE_EVERY_SECONDS = 5.0
# From the number of a step, from 0, to the architecture that it trains.
PathOfStep = Callable[[int], Sequence[int]]
# Called with the number of a step when it is done.
OnStepEnd = Callable[[int], None]


class CompanionState(Protocol):
    """State that is trained beside the weights and kept in the same checkpoint."""

    def state(self) -> dict[str, Tensor]:
        """Return the state as tensors by name."""

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore the state from the tensors of `state`."""


class Trainer:
    """Trains a module, either a plain network or one path of a supernet in each step.

    Under torchrun every process takes its rows of each batch, all follow the same path, and gradients are
    averaged; the first process alone writes checkpoints.

    Args:
        module: Module to train, from images `(batch, channels, height, width)` to logits `(batch, classes)`. A supernet
            takes an architecture as its second argument.
        data: Images and labels of the training part.
        recipe: How to train.
        seed: Seed of data order, augmentation, and mixup.
        path_of_step: Function from a step's number to its architecture; None for a plain network.
        on_step_end: Function that is called with the number of each completed step, for instance to train other
            parameters.
        companion: State that belongs to the same step, and is kept in the same checkpoint.
        steps: Number of steps of the whole training; None for the recipe's epochs.

    Attributes:
        path_of_step: The argument; it may be replaced between runs.
        step: Number of completed steps.
        steps: Number of steps of the whole training.
        steps_per_epoch: Number of steps of one pass over the training part.
        loss: Loss of the last step; NaN before the first, and after `restore`.
    """

    def __init__(
        self,
        module: nn.Module,
        data: ImageSplit,
        recipe: Recipe,
        *,
        seed: int,
        path_of_step: PathOfStep | None = None,
        on_step_end: OnStepEnd | None = None,
        companion: CompanionState | None = None,
        steps: int | None = None,
    ) -> None:
        self.module = module.to(memory_format=torch.channels_last)
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.path_of_step = path_of_step
        self.step = 0
        self.loss = math.nan
        self.steps_per_epoch = max(1, len(data) // recipe.batch)
        self.steps = steps if steps is not None else self.steps_per_epoch * recipe.epochs
        self._on_step_end = on_step_end
        self._companion = companion
        self._parameters = list(module.parameters())
        self._optimizer = make_optimizer(module, recipe)
        self._batch_loss = BatchLoss(recipe, seed)
        self._average = WeightAverage(module, recipe.ema)

    def run(
        self, file: Path | None, identity: str, progress: Progress, task: str, until: int | None = None
    ) -> None:
        """Train to the end, and save a checkpoint every few seconds. An existing checkpoint is continued.

        Args:
            file: Checkpoint to continue and to write; None writes none.
            identity: Digest of the training's settings, from `settings_digest`.
            progress: Progress display; it shows the loss.
            task: Description of the training, for the display.
            until: Number of steps after which to stop; None for the whole training.

        Raises:
            TrainingError: The loss or the gradient is not finite. The last checkpoint is kept.
            CheckpointError: The checkpoint belongs to other settings, or a checkpoint cannot be written.
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
            if self._on_step_end is not None:
                self._on_step_end(self.step)
            self.step += 1
            progress.advance(1, f"loss {loss:.3f}")
            if file is not None and (time.monotonic() - saved > _SAVE_EVERY_SECONDS or self.step == end):
                self.save(file, identity)
                saved = time.monotonic()
        # The other processes read the file as soon as this method returns.
        distributed.wait_for_all()

    def _batches(self, end: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the rows of this process in the batches of the steps before `end`."""
        order: npt.NDArray[np.int64] | None = None
        while self.step < end:
            epoch, index = divmod(self.step, self.steps_per_epoch)
            if order is None or index == 0:
                order = generator(self.seed, RandomStream.DATA_ORDER, epoch).permutation(len(self.data))
            rows = torch.from_numpy(order[index * self.recipe.batch : (index + 1) * self.recipe.batch])
            rng = generator(self.seed, RandomStream.AUGMENTATION, self.step)
            images = shift_images(self.data.images[rows], rng, self.recipe.shift)
            labels = self.data.labels[rows]
            own = distributed.rows_of_this_process(len(labels))
            yield images[own].contiguous(memory_format=torch.channels_last), labels[own]

    def _train_step(self, images: Tensor, labels: Tensor) -> float:
        """Update the weights on one batch; return its loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.recipe.rate_at(self.step, self.steps)
        total = 0.0
        parts = self.recipe.accumulate
        for part, (x, y) in enumerate(zip(images.chunk(parts), labels.chunk(parts), strict=True)):
            loss = self._batch_loss(self._forward, x, y, self.step, part) * (len(y) / len(labels))
            total += float(loss.detach())
            if not math.isfinite(total):
                raise self._divergence_error("loss", total)
            loss.backward()  # type: ignore[no-untyped-call]
        # A supernet has many times the parameters of a path: those that the step did not use are skipped.
        used = [p for p in self._parameters if p.grad is not None]
        distributed.average_gradients(used)
        norm = float(nn.utils.clip_grad_norm_(used, self.recipe.clip or math.inf))
        if not math.isfinite(norm):
            raise self._divergence_error("norm of the gradient", norm)
        self._optimizer.step()
        for parameter in used:
            parameter.grad = None
        self._average.update(self.step)
        return total

    def _forward(self, images: Tensor) -> Tensor:
        if self.path_of_step is None:
            logits: Tensor = self.module(images)
        else:
            logits = self.module(images, self.path_of_step(self.step))
        return logits

    def _divergence_error(self, quantity: str, value: float) -> TrainingError:
        return TrainingError(
            f"the {quantity} is {value} at step {self.step} of {self.steps}.",
            f"Lower the learning rate (now {self.recipe.rate}); the last good checkpoint is kept.",
        )

    def averaged(self) -> AbstractContextManager[nn.Module]:
        """Return a context in which the module has its averaged weights, if the recipe keeps an average."""
        return self._average.applied()

    def use_average(self) -> None:
        """Replace the weights by their average, if the recipe keeps one."""
        self._average.apply()

    def save(self, file: Path, identity: str) -> None:
        """Write a checkpoint: weights, optimiser, average, companion, and the number of completed steps.

        Processes other than the first write nothing.

        Args:
            file: File to write.
            identity: Digest of the training's settings, from `settings_digest`.

        Raises:
            CheckpointError: The file cannot be written.
        """
        if not distributed.is_first_process():
            return
        tensors = {f"module/{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(self.module, self._optimizer).items()}
        tensors |= {f"average/{k}": v for k, v in self._average.tensors().items()}
        if self._companion is not None:
            tensors |= {f"beside/{k}": v for k, v in self._companion.state().items()}
        save_checkpoint(file, tensors, {"identity": identity, "step": self.step, "steps": self.steps})

    def restore(self, file: Path, identity: str) -> None:
        """Continue from a checkpoint.

        Args:
            file: Checkpoint that `save` wrote.
            identity: Digest of the training's settings, from `settings_digest`.

        Raises:
            CheckpointError: The checkpoint is damaged or belongs to other settings.
        """
        tensors, state = load_checkpoint(file)
        if state.get("identity") != identity:
            raise CheckpointError(
                f"{file} belongs to another space, data set, recipe, or seed.", "Remove it to train anew."
            )
        load_module(self.module, tensors)
        load_optimizer_tensors(self.module, self._optimizer, _group(tensors, "optimizer/"))
        self._average.load(_group(tensors, "average/"))
        if self._companion is not None:
            self._companion.load(_group(tensors, "beside/"))
        self.step = int(state["step"])


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
