"""The training loop of supernets and plain networks, which resumes bit for bit after any step.

Data order, augmentation, and the architecture of a step follow from the seed and the step's number alone. So a
checkpoint needs the weights, the optimiser's state, and the number of completed steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nascli.errors import CheckpointError, DeviceError, NascliError, Remedy, TrainingError
from nascli.progress import Progress
from nascli.supernet.data.batches import training_batches
from nascli.supernet.data.splits import ImageSplit
from nascli.supernet.devices import is_device_failure, is_out_of_memory
from nascli.supernet.modules import load_module
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint, save_checkpoint
from nascli.supernet.training.checkpoint_writer import CheckpointWriter
from nascli.supernet.training.finite import FiniteWatch, Health
from nascli.supernet.training.loss import BatchLoss, Forward
from nascli.supernet.training.optimizers import (
    begin_momenta,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
)
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.regularisation import regularise
from nascli.supernet.training.synchronised_norm import synchronised_where_needed
from nascli.supernet.training.teaching import Distiller
from nascli.supernet.training.weight_average import WeightAverage

# Shortest time between two checkpoints; at 0 or below, every step has one.
_SAVE_EVERY_SECONDS = 5.0
# Time after which a card is asked for the loss. The CPU is asked after every step, since it has nothing to wait for.
_LOOK_EVERY_SECONDS = 0.5
# A scale of fp16 losses below which no gradient is finite any more.
_LEAST_SCALE = 2.0**-20
# From the number of a step, from 0, to the architecture that it trains.
PathOfStep = Callable[[int], Sequence[int]]
# Called with the number of a step when it is done.
OnStepEnd = Callable[[int], None]
# From the number of a step, from 0, to the architectures that learn from `PathOfStep`'s in the same step.
LearnersOfStep = Callable[[int], Sequence[Sequence[int]]]


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

    The module is trained where its images are delivered. A step waits for nothing on a card: loss and gradient stay
    there, and are looked at twice a second and before every checkpoint.

    Args:
        module: Module to train, from images `(batch, channels, height, width)` to logits `(batch, classes)`. A supernet
            takes an architecture as its second argument.
        data: Images and labels of the training part, delivered to the device of the training.
        recipe: How to train.
        seed: Seed of data order, augmentation, and mixup.
        path_of_step: Function from a step's number to its architecture; None for a plain network.
        on_step_end: Function that is called with the number of each completed step, for instance to train other
            parameters.
        companion: State that belongs to the same step, and is kept in the same checkpoint.
        steps: Number of steps of the whole training; None for the recipe's epochs.
        compile: Whether a plain network is compiled by `torch.compile`; a supernet, which is another network in each
            step, never is.
        teacher: What the module learns from beside the labels; None for the labels alone.
        learners_of_step: Function from a step's number to further architectures of a supernet, which learn in the same
            step from the logits of `path_of_step`'s architecture (the sandwich rule); None for no others.

    Attributes:
        path_of_step: The argument; it may be replaced between runs.
        step: Number of completed steps.
        steps: Number of steps of the whole training.
        steps_per_epoch: Number of steps of one pass over the training part.
        device: Device of the training.
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
        compile: bool = False,
        teacher: Distiller | None = None,
        learners_of_step: LearnersOfStep | None = None,
    ) -> None:
        self.device = data.device
        self.module = module.to(self.device).to(memory_format=torch.channels_last)
        self.data = data
        self.recipe = recipe
        self.seed = seed
        self.path_of_step = path_of_step
        self.step = 0
        self.steps_per_epoch = max(1, len(data) // recipe.batch)
        # Images of a step, of all processes together.
        self._rows = min(recipe.batch, len(data))
        self.steps = steps if steps is not None else self.steps_per_epoch * recipe.epochs
        # Which of them this process computes.
        self._own_rows = torch.arange(self._rows)[distributed.rows_of_this_process(self._rows)]
        self._regularisation = regularise(module, recipe, seed)
        self._network = torch.compile(self.module) if compile and path_of_step is None else self.module
        self._on_step_end = on_step_end
        self._companion = companion
        self._parameters = list(module.parameters())
        self._optimizer = make_optimizer(module, recipe)
        scaled = recipe.amp and recipe.amp_type == "float16"
        self._scaler = torch.amp.GradScaler(self.device.type) if scaled else None
        self._batch_loss = BatchLoss(recipe, seed, teacher)
        self._learners_of_step = learners_of_step
        self._teacher = teacher
        if teacher is not None:
            teacher.to(self.device)
            self._parameters += teacher.parameters()
            if teacher.parameters():
                group = {"params": teacher.parameters(), "weight_decay": recipe.weight_decay}
                self._optimizer.add_param_group(group)
        self._average = WeightAverage(module, recipe.ema)
        self._watch = FiniteWatch(self.device)
        # Steps that the watch has recorded and nobody has looked at.
        self._unseen = 0

    @property
    def loss(self) -> float:
        """Loss of the last step; NaN before the first, and after `restore`. Reading it waits for the device."""
        return self._watch.loss

    def run(
        self, file: Path | None, identity: str, progress: Progress, task: str, until: int | None = None
    ) -> None:
        """Train to the end, and save checkpoints as often as their cost allows. An existing checkpoint is continued.

        Args:
            file: Checkpoint to continue and to write; None writes none.
            identity: Digest of the training's settings, from `settings_digest`.
            progress: Progress display; it shows the loss.
            task: Description of the training, for the display.
            until: Number of steps after which to stop; None for the whole training.

        Raises:
            TrainingError: The loss or the gradient is not finite, or memory ran out. The last checkpoint is kept.
            DeviceError: The device failed. The last checkpoint is kept.
            CheckpointError: The checkpoint belongs to other settings, or a checkpoint cannot be written.
        """
        end = self.steps if until is None else min(until, self.steps)
        if file is not None and file.exists():
            self.restore(file, identity)
        distributed.require_rows(self._rows // self.recipe.accumulate)
        distributed.require_same("checkpoints", f"step {self.step}")
        self.module.train()
        for parameter in self._parameters:
            parameter.grad = None
        progress.start(task, end)
        progress.advance(min(self.step, end))
        writes = file is not None and distributed.is_first_process()
        writer = CheckpointWriter(file, _SAVE_EVERY_SECONDS) if file is not None and writes else None
        try:
            with synchronised_where_needed(self.module, self.recipe):
                self._run_steps(end, identity, progress, writer)
        except RuntimeError as error:
            mended = self._device_error(error, file)
            if mended is None:
                raise
            raise mended from error
        finally:
            if writer is not None:
                writer.wait()
        distributed.share_buffers(self.module)
        # The other processes read the file as soon as this method returns.
        distributed.wait_for_all()

    def _run_steps(
        self, end: int, identity: str, progress: Progress, writer: CheckpointWriter | None
    ) -> None:
        looks_always = self.device.type == "cpu"
        looked, unreported = time.monotonic(), 0
        for images, labels in training_batches(
            self.data, self.recipe, seed=self.seed, start=self.step, stop=end
        ):
            self._train_step(images, labels)
            unreported += 1
            saves = writer is not None and (self.step + 1 == end or writer.is_due())
            looks = looks_always or saves or self.step + 1 == end
            health = None
            if looks or time.monotonic() - looked > _LOOK_EVERY_SECONDS:
                health = self._look()
                looked = time.monotonic()
            if saves:
                self._require_finite_weights()
            if self._on_step_end is not None:
                self._on_step_end(self.step)
            self.step += 1
            if health is not None:
                progress.advance(unreported, f"loss {health.loss:.3f}")
                unreported = 0
            if writer is not None and saves:
                writer.write(self._tensors(), self._state(identity), self.device)

    def _train_step(self, images: Tensor, labels: Tensor) -> None:
        """Update the weights on one batch, without waiting for the device."""
        rate = self.recipe.rate_at(self.step, self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        parts = self.recipe.accumulate
        rows = self._own_rows.chunk(parts)
        weight = distributed.loss_weight(self._rows)
        total: Tensor | None = None
        for part, (x, y) in enumerate(zip(images.chunk(parts), labels.chunk(parts), strict=True)):
            self._regularisation.begin(self.step, rows[part])
            for loss in self._batch_loss.of_paths(self._paths(), x, y, self.step, part):
                if parts > 1:
                    loss = loss * (len(y) / len(labels))
                weighted = loss if weight == 1 else loss * weight
                scaled = weighted if self._scaler is None else self._scaler.scale(weighted)
                scaled.backward()  # type: ignore[no-untyped-call]
                total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        # A supernet has many times the parameters of a path: those that the step did not use are skipped.
        used = [p for p in self._parameters if p.grad is not None]
        distributed.average_gradients(used)
        norm = self._update(used)
        for parameter in used:
            parameter.grad = None
        # A scaled gradient may be infinite: the scaler leaves such a step out, and lowers the scale.
        self._watch.record(total, total if norm is None or self._scaler is not None else norm)
        self._unseen += 1
        self._average.update(self.step)

    def _update(self, used: Sequence[nn.Parameter]) -> Tensor | None:
        """Step the optimiser; return the norm of the gradient before it was clipped, a scalar on the device.

        None if the recipe clips nothing: then a gradient that is not finite shows in the next loss, or in the weights
        before they are saved.
        """
        if self._scaler is not None and self.recipe.clip:
            self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(used, self.recipe.clip) if self.recipe.clip else None
        begin_momenta(self._optimizer, used)
        if self._scaler is None:
            self._optimizer.step()
        else:
            self._scaler.step(self._optimizer)
            self._scaler.update()
        return norm

    def _paths(self) -> list[Forward]:
        """Return what this step computes: the network, or paths of the supernet, the first of which teaches."""
        if self.path_of_step is None:
            return [self._network]
        learners = () if self._learners_of_step is None else self._learners_of_step(self.step)
        return [self._path(path) for path in (self.path_of_step(self.step), *learners)]

    def _path(self, architecture: Sequence[int]) -> Forward:
        def forward(images: Tensor) -> Tensor:
            logits: Tensor = self.module(images, architecture)
            return logits

        return forward

    def _look(self) -> Health:
        """Wait for the step that has just been computed, and return its loss.

        Raises:
            TrainingError: The loss or the gradient of this step, or of one since the last look, is not finite.
        """
        steps, self._unseen = self._unseen, 0
        health = self._watch.read()
        if health.failed is not None:
            raise self._divergence_error(health.failed, health.value, self.step + 1 - steps + health.steps)
        if self._scaler is not None and self._scaler.get_scale() < _LEAST_SCALE:
            raise self._divergence_error("scale of the loss", self._scaler.get_scale(), self.step)
        return health

    def _require_finite_weights(self) -> None:
        """Refuse to save what no training could go on from.

        Raises:
            TrainingError: A weight is not finite.
        """
        norms = torch._foreach_norm([p.detach() for p in self._parameters])
        if not bool(torch.stack(norms).isfinite().all()):
            raise self._divergence_error("norm of the weights", math.nan, self.step)

    def _divergence_error(self, quantity: str, value: float, step: int) -> TrainingError:
        return TrainingError(
            f"the {quantity} is {value} at step {step} of {self.steps}.",
            f"Lower the learning rate (now {self.recipe.rate}); the last good checkpoint is kept.",
        )

    def _device_error(self, error: RuntimeError, file: Path | None) -> NascliError | None:
        """Return what an error of torch means to the user; None if it is a mistake in the program."""
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        if is_out_of_memory(error):
            return self._out_of_memory_error(first_line)
        if is_device_failure(error):
            kept = "no checkpoint was written" if file is None or not file.exists() else f"{file} is kept"
            return DeviceError(
                f"{self.device} failed at step {self.step} of {self.steps}: {first_line}; {kept}.",
                "Run the same again to go on from the last checkpoint, on another device if need be.",
                Remedy(arguments={"train_device": "cpu"}),
            )
        return None

    def _out_of_memory_error(self, reason: str) -> TrainingError:
        batch, parts = self.recipe.batch // distributed.world_size(), self.recipe.accumulate
        doubled = 2 * parts
        if batch // doubled >= 2:
            way_out = (
                f"Set accumulate={doubled} in the recipe: {batch // doubled} images at a time need about half of that "
                "memory, and the batch of a step stays as it is."
            )
        else:
            way_out = "Choose a smaller resolution or network; the batch cannot be computed in smaller parts."
        return TrainingError(
            f"{self.device} has too little memory for {batch // parts} images at a time (a batch of {batch} in "
            f"{parts} {'part' if parts == 1 else 'parts'}) at step {self.step} of {self.steps}: {reason}",
            f"{way_out} The last checkpoint is kept.",
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
        if distributed.is_first_process():
            save_checkpoint(file, self._tensors(), self._state(identity))

    def _tensors(self) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint by name, which later steps change."""
        tensors = {f"module/{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(self.module, self._optimizer).items()}
        tensors |= {f"average/{k}": v for k, v in self._average.tensors().items()}
        if self._companion is not None:
            tensors |= {f"beside/{k}": v for k, v in self._companion.state().items()}
        if self._teacher is not None:
            tensors |= {f"teacher/{k}": v for k, v in self._teacher.state(self._optimizer).items()}
        return tensors

    def _state(self, identity: str) -> dict[str, Any]:
        """Return the other values of a checkpoint."""
        state: dict[str, Any] = {"identity": identity, "step": self.step, "steps": self.steps}
        return state if self._scaler is None else {**state, "scaler": self._scaler.state_dict()}

    def restore(self, file: Path, identity: str) -> None:
        """Continue from a checkpoint, which may have been written on another device.

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
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        if self._teacher is not None:
            self._teacher.load(_group(tensors, "teacher/"), self._optimizer)
        self.step = int(state["step"])
        self._watch, self._unseen = FiniteWatch(self.device), 0


def _group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}
