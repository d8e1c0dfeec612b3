"""Architectures trained from scratch: at the end of a search, and by the job of `nascli train`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nascli.files import write_json
from nascli.pipeline.train.export import save_network
from nascli.progress import Progress
from nascli.search.base import Choices
from nascli.search.run_folder import ARCHITECTURE, WEIGHTS, RunFolder
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Space
from nascli.supernet.data.images import Images, load_images, require_fit
from nascli.supernet.recipes.registry import find_recipe
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import save_weights
from nascli.supernet.training.epochs import EpochLog
from nascli.supernet.training.plain_network import TrainedNetwork, train_network
from nascli.supernet.training.recipe import Recipe


@dataclass(frozen=True)
class CandidateTraining:
    """How a network did that a search found, after training from scratch.

    Attributes:
        top1: Top-1 on the test part, from 0 to 1.
        low, high: Its 95 % interval.
        validation_top1: Top-1 on the validation part.
        export_max_difference: The largest difference between the logits of the exported model and the network's; None
            where no ONNX model was written.
    """

    top1: float
    low: float
    high: float
    validation_top1: float
    export_max_difference: float | None = None


@dataclass(frozen=True)
class CandidateTrainer:
    """Trains networks that a search found, into the folder of its run.

    Attributes:
        images: The data; its test part is used once for each network.
        recipe: How networks are trained from scratch.
        seed: Of weights and data order.
        folder: The run's folder. What it holds of an earlier training is taken or finished.
        progress: Is shown the training.
    """

    images: Images
    recipe: Recipe
    seed: int
    folder: RunFolder
    progress: Progress

    def train(self, space: Space, architecture: Choices, name: str) -> CandidateTraining:
        """Train an architecture.

        Args:
            space: The space in whose widths it is built.
            architecture: Its choices.
            name: For people.
        """
        trained = self._trained(space, architecture, name)
        return CandidateTraining(trained.top1, trained.low, trained.high, trained.validation_top1)

    def train_and_export(
        self, space: Space, architecture: Choices, name: str, batch: int
    ) -> CandidateTraining:
        """Train an architecture, and write it with its weights and, where a runtime computes it, as an ONNX model.

        Args:
            space: The space in whose widths it is built.
            architecture: Its choices.
            name: For people.
            batch: Of the ONNX model.

        Raises:
            NascliError: The exported model does not compute what the trained one does.
        """
        trained = self._trained(space, architecture, name)
        document = Architecture.of(space, np.array(architecture), name)
        difference = None
        if space.low_bit:
            document.save(self.folder.file(ARCHITECTURE))
            save_weights(torch.nn.Sequential(*trained.blocks), self.folder.file(WEIGHTS))
        else:
            difference = save_network(document, trained.blocks, self.folder.path, batch, self.images)
        return CandidateTraining(trained.top1, trained.low, trained.high, trained.validation_top1, difference)

    def _trained(self, space: Space, architecture: Choices, name: str) -> TrainedNetwork:
        return train_network(
            space.network(architecture, name),
            self.images,
            self.recipe,
            seed=self.seed,
            file=self.folder.file(f"training/network-{'-'.join(map(str, architecture))}.safetensors"),
            progress=self.progress,
            title=f"{name} from scratch",
        )


def train_architecture(
    path: Path,
    data: str,
    recipe_name: str,
    *,
    epochs: int | None = None,
    batch: int,
    seed: int,
    out: Path,
    progress: Progress,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Train an architecture's file from scratch into a folder; killed and run again, it goes on.

    Under torchrun several processes train it together; the first one writes.

    Args:
        path: the architecture's file.
        data: a data set.
        recipe_name: how to train: the name of a recipe.
        epochs: how long; None for the recipe's own number.
        batch: of the ONNX file.
        seed: of everything.
        out: the folder: checkpoint.safetensors (the last state), best.safetensors (by validation),
            weights.safetensors and model.onnx (the result), training.json.
        progress: is shown the training.
        tensorboard: write logs for TensorBoard.

    Returns:
        what `out`/training.json holds.
    """
    recipe = find_recipe(recipe_name, epochs)
    distributed.start()
    architecture = Architecture.load(path)
    network = architecture.network
    images = load_images(data, network.input.height)
    require_fit(images, network.input, network.output.channels)
    settings = {
        "architecture": list(architecture.choices),
        "space": architecture.space.spec,
        "data": data,
        "recipe": recipe.__dict__,
        "seed": seed,
    }
    with RunFolder(out, settings) if distributed.is_first() else nullcontext():
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
        )
        document: dict[str, Any] = {
            "space": architecture.space.spec,
            "codes": list(architecture.choices),
            "data": data,
            "top1": trained.top1,
            "top1_interval": [trained.low, trained.high],
            "validation_top1": trained.validation_top1,
            "validation_top1_by_epoch": log.history,
            "best_epoch": 1 + int(np.argmax(log.history)),
            "macs": network.counts.macs,
            "params": network.counts.params,
        }
        if not distributed.is_first():
            return document
        if network.program.low_bit:
            save_weights(torch.nn.Sequential(*trained.blocks), out / "weights.safetensors")
            architecture.save(out / "architecture.json")
        else:
            document["export_max_difference"] = save_network(architecture, trained.blocks, out, batch, images)
        write_json(out / "training.json", document)
    return document
