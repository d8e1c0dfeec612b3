"""Architectures trained from scratch: at the end of a search, and by the job of `nascli train`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nascli.files import write_json
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.train.export import save_network
from nascli.progress import Progress
from nascli.search.run_folder import ARCHITECTURE, RunFolder
from nascli.spaces.architecture import Architecture
from nascli.spaces.space import Space
from nascli.supernet.data.images import load_images, require_fit
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import save_weights
from nascli.supernet.training.epochs import EpochLog
from nascli.supernet.training.plain_network import train_network
from nascli.supernet.training.recipe import Recipe

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images


WINNER = "winner"


def train_candidate(
    space: Space,
    codes: Sequence[int],
    name: str,
    images: Images,
    settings: SearchSettings,
    folder: RunFolder,
    progress: Progress,
) -> dict[str, Any]:
    """Train an architecture from scratch, or take what an earlier run of the folder has; the winner is handed over.

    Args:
        space: in whose widths it is built.
        codes: the architecture.
        name: for people; 'winner' writes architecture, weights and, where a runtime computes it, ONNX.
        images: data; the test part is used once.
        settings: how long and by which recipe.
        folder: the run's.
        progress: is shown the training.
    """
    import torch

    from nascli.pipeline.train.export import save_network
    from nascli.supernet.training.checkpoint import save_weights
    from nascli.supernet.training.plain_network import train_network

    trained = train_network(
        space.network(codes, name),
        images,
        settings.effort.retrain_recipe(),
        seed=settings.seed,
        file=folder.file(f"training/network-{'-'.join(map(str, codes))}.safetensors"),
        progress=progress,
        title=f"{name} from scratch",
    )
    document: dict[str, Any] = {
        "codes": list(codes),
        "top1": trained.top1,
        "top1_interval": [trained.low, trained.high],
        "validation_top1": trained.validation_top1,
    }
    if name != WINNER:
        return document
    architecture = Architecture.of(space, np.array(codes), WINNER)
    if space.low_bit:
        architecture.save(folder.file(ARCHITECTURE))
        save_weights(torch.nn.Sequential(*trained.blocks), folder.file("weights.safetensors"))
        return document
    document["export_max_difference"] = save_network(
        architecture, trained.blocks, folder.path, settings.target.batch, images
    )
    return document


def train_architecture(
    path: Path,
    data: str,
    recipe: Recipe,
    *,
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
        recipe: how to train.
        batch: of the ONNX file.
        seed: of everything.
        out: the folder: checkpoint.safetensors (the last state), best.safetensors (by validation),
            weights.safetensors and model.onnx (the result), training.json.
        progress: is shown the training.
        tensorboard: write logs for TensorBoard.

    Returns:
        what `out`/training.json holds.
    """
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
