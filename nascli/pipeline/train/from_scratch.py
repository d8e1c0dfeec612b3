"""Architectures trained from scratch: at the end of a search, and by the job of `nascli train`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nascli.execution import DeviceChoice
from nascli.pipeline.train.export import save_network
from nascli.pipeline.train.recipes import chosen_recipe
from nascli.pipeline.train.teacher_source import TeacherSource
from nascli.pipeline.train.teachers import load_teaching
from nascli.progress import Progress
from nascli.search.base import Choices
from nascli.search.run_folder import ARCHITECTURE, WEIGHTS, RunFolder
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Space
from nascli.supernet.data.images import Images, load_images, require_fit
from nascli.supernet.data.options import DataOptions
from nascli.supernet.data.shared_images import load_together
from nascli.supernet.devices import TrainDevice
from nascli.supernet.modules import ProgramModule
from nascli.supernet.recipes.entry import RETRAINING
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import save_weights
from nascli.supernet.training.epochs import EpochLog
from nascli.supernet.training.plain_network import TrainedNetwork, train_network
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.teaching import Teaching


@dataclass(frozen=True)
class CandidateTraining:
    """Accuracy of an architecture that a search found, after training from scratch.

    Attributes:
        top1: Top-1 on the test part, from 0 to 1.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end of its 95 % Wilson interval.
        validation_top1: Top-1 on the validation part, from 0 to 1.
        export_max_difference: Largest difference between the logits of the exported model and the network's; None
            where no ONNX model was written.
    """

    top1: float
    low: float
    high: float
    validation_top1: float
    export_max_difference: float | None = None


@dataclass(frozen=True)
class CandidateTrainer:
    """Trains architectures that a search found, into the folder of its run.

    Attributes:
        images: Data set; its test part is used once for each network.
        recipe: How networks are trained from scratch.
        seed: Seed of weights and data order.
        folder: Folder of the run. A training in it is continued, or loaded if it is finished.
        progress: Progress display.
        compile: Whether networks are compiled before they are trained.
        teaching: What the networks learn from beside the labels; None for the labels alone.
        final_on: What `train` and `train_and_export` train on: 'train', or 'all' for the validation part too.
    """

    images: Images
    recipe: Recipe
    seed: int
    folder: RunFolder
    progress: Progress
    compile: bool = False
    teaching: Teaching | None = None
    final_on: str = "train"

    def train(self, space: Space, architecture: Choices, name: str) -> CandidateTraining:
        """Train an architecture.

        Args:
            space: Space in whose widths the architecture is built.
            architecture: Choice of each layer, `(layers,)`.
            name: Name of the network, for the progress display.
        """
        trained = self._train_network(space, architecture, name, self.final_on)
        return CandidateTraining(trained.top1, trained.low, trained.high, trained.validation_top1)

    def validation_top1(self, space: Space, architecture: Choices, name: str) -> float:
        """Train an architecture on the training part alone, and return its top-1 on the validation part.

        Args:
            space: Space in whose widths the architecture is built.
            architecture: Choice of each layer, `(layers,)`.
            name: Name of the network, for the progress display.
        """
        return self._train_network(space, architecture, name, "train").validation_top1

    def train_and_export(
        self, space: Space, architecture: Choices, name: str, batch: int
    ) -> CandidateTraining:
        """Train an architecture, and write its file, its weights, and, unless it has low bit widths, its ONNX model.

        Args:
            space: Space in whose widths the architecture is built.
            architecture: Choice of each layer, `(layers,)`.
            name: Name of the network, for its file and the progress display.
            batch: Batch size of the ONNX model.

        Raises:
            NascliError: The logits of the ONNX model differ from the network's.
        """
        trained = self._train_network(space, architecture, name, self.final_on)
        difference = distributed.on_first(
            lambda: _save_trained(
                Architecture.of(space, np.array(architecture), name),
                trained.blocks,
                self.folder.path,
                batch,
                self.images,
            )
        )
        return CandidateTraining(trained.top1, trained.low, trained.high, trained.validation_top1, difference)

    def _train_network(
        self, space: Space, architecture: Choices, name: str, trained_on: str
    ) -> TrainedNetwork:
        choices = "-".join(map(str, architecture))
        prefix = "network" if trained_on == "train" else f"network-{trained_on}"
        return train_network(
            space.network(architecture, name),
            self.images.trained_on(trained_on),
            self.recipe,
            seed=self.seed,
            file=self.folder.file(f"training/{prefix}-{choices}.safetensors"),
            progress=self.progress,
            title=f"{name} from scratch",
            compile=self.compile,
            teaching=self.teaching,
        )


def _save_trained(
    architecture: Architecture, blocks: Sequence[ProgramModule], folder: Path, batch: int, images: Images
) -> float | None:
    """Write what a training hands over; return the ONNX model's largest difference in logits, None without a model."""
    if not architecture.network.program.low_bit:
        return save_network(architecture, blocks, folder, batch, images)
    save_weights(torch.nn.Sequential(*blocks), folder / WEIGHTS)
    architecture.save(folder / ARCHITECTURE)
    return None


@dataclass(frozen=True)
class ArchitectureTraining:
    """The result of training an architecture from scratch.

    Attributes:
        space: Name and parameters of the architecture's space.
        choices: Choice of each layer.
        data: Name of the data set.
        top1: Top-1 on the test part, from 0 to 1.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end of its 95 % Wilson interval.
        validation_top1: Top-1 on the validation part, from 0 to 1.
        validation_top1_by_epoch: Top-1 on the validation part after each epoch.
        best_epoch: Epoch with the best of these, from 1.
        macs: Multiply-accumulate operations of the network for one image.
        params: Number of the network's parameters.
        export_max_difference: Largest difference between the logits of the exported model and the network's; None
            where no ONNX model was written.
    """

    space: str
    choices: tuple[int, ...]
    data: str
    top1: float
    low: float
    high: float
    validation_top1: float
    validation_top1_by_epoch: tuple[float, ...]
    best_epoch: int
    macs: int
    params: int
    export_max_difference: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return the result as a JSON document, which training.json holds too."""
        document: dict[str, object] = {
            "space": self.space,
            "codes": list(self.choices),
            "data": self.data,
            "top1": self.top1,
            "top1_interval": [self.low, self.high],
            "validation_top1": self.validation_top1,
            "validation_top1_by_epoch": list(self.validation_top1_by_epoch),
            "best_epoch": self.best_epoch,
            "macs": self.macs,
            "params": self.params,
        }
        if self.export_max_difference is not None:
            document["export_max_difference"] = self.export_max_difference
        return document


def train_architecture(
    path: Path | Architecture,
    data: str,
    recipe_name: str,
    *,
    epochs: int | None = None,
    batch: int,
    seed: int,
    out: Path,
    progress: Progress,
    tensorboard: bool = False,
    training: DeviceChoice = DeviceChoice(),
    teacher: TeacherSource | None = None,
    changes: Sequence[str] = (),
    options: DataOptions = DataOptions(),
    train_on: str = "train",
) -> ArchitectureTraining:
    """Train the architecture of a file from scratch, into a folder.

    A killed training continues from the folder when it is called again. Under torchrun several processes train
    together, and the first one writes the files: checkpoint.safetensors (the last state), best.safetensors (the best
    weights by validation), weights.safetensors and model.onnx (the result), architecture.json, and training.json.

    Args:
        path: Architecture file, or the architecture.
        data: Name of a data set, or a name and a folder.
        recipe_name: Name of a recipe for training from scratch, or a file that ends in .toml.
        epochs: Number of epochs; None for the recipe's own.
        batch: Batch size of the ONNX model.
        seed: Seed of weights and data order.
        out: Folder of the training.
        progress: Progress display.
        tensorboard: Whether to write logs for TensorBoard into the folder.
        training: Device of the training.
        teacher: What the network learns from beside the labels; None for the labels alone.
        changes: Fields of the recipe by name, such as ``recipe.rate=0.4``.
        options: How the data set is split and read.
        train_on: What the network trains on: 'train', or 'all' for the validation part too.

    Raises:
        RuntimeUnavailableError: The device is not in this machine.
        UnknownNameError: No data set, recipe, or field of a recipe has that name.
        DataError: The data set is missing or damaged, or does not fit the architecture.
        RunError: The folder belongs to other settings, or another process is using it.
        TrainingError: The loss or the gradient is not finite.
        CheckpointError: The teacher's weights cannot be read, or do not fit it.
        NascliError: The logits of the ONNX model differ from the network's, or the teacher cannot be used.
    """
    recipe = chosen_recipe(RETRAINING, recipe_name, epochs=epochs, changes=changes)
    device = TrainDevice.of(training)
    distributed.join_process_group(str(device.device))
    architecture = path if isinstance(path, Architecture) else Architecture.load(path)
    network = architecture.network
    loaded = load_together(
        lambda: load_images(data, network.input.height, options=options, progress=progress)
    )
    images = loaded.trained_on(train_on)
    require_fit(images, network.input, network.output.channels)
    images = images.to(device.device)
    settings = {
        "architecture": list(architecture.choices),
        "space": architecture.space.spec,
        "data": data,
        "recipe": recipe.to_json(),
        "seed": seed,
        **({} if teacher is None else {"teacher": teacher.to_json()}),
        **options.to_json(),
    }
    if train_on != "train":
        settings["train_on"] = train_on
        progress.message(
            "validation images are trained on too: accuracy on them is not one of held-out images"
        )
    teaching = None if teacher is None else load_teaching(teacher, images)
    with RunFolder(out, settings) as folder:
        log = EpochLog(images.validation, out, tensorboard)
        trained = train_network(
            network,
            images,
            recipe,
            seed=seed,
            file=out / "checkpoint.safetensors",
            progress=progress,
            title=architecture.name,
            log=log,
            compile=device.compile,
            teaching=teaching,
        )
        result = ArchitectureTraining(
            space=architecture.space.spec,
            choices=tuple(architecture.choices),
            data=data,
            top1=trained.top1,
            low=trained.low,
            high=trained.high,
            validation_top1=trained.validation_top1,
            validation_top1_by_epoch=tuple(log.history),
            best_epoch=1 + int(np.argmax(log.history)),
            macs=network.counts.macs,
            params=network.counts.params,
        )
        difference = distributed.on_first(
            lambda: _save_trained(architecture, trained.blocks, out, batch, images)
        )
        result = replace(result, export_max_difference=difference)
        folder.write("training.json", result.to_json())
    return result
