"""A network trained from scratch and tested once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from nascli.progress import Progress
from nascli.spaces.network import Network
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.accuracy import accuracy, wilson_interval
from nascli.supernet.modules import ProgramModule, network_module
from nascli.supernet.training.epochs import EpochLog
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer, settings_digest


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and how accurate it is on the test part."""

    blocks: list[ProgramModule]
    top1: float
    low: float
    high: float
    validation_top1: float


def train_network(
    network: Network,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    file: Path,
    progress: Progress,
    title: str,
    log: EpochLog | None = None,
) -> TrainedNetwork:
    """Train a network from scratch, or finish or load what `file` holds of it; then test it once.

    Args:
        network: what to train.
        images: data.
        recipe: how.
        seed: of weights and data order.
        file: the checkpoint.
        progress: is shown the training.
        title: for people.
        log: told of every epoch's end; its state is kept in the checkpoint.
    """
    kind = "network" if log is None else "network with epochs"
    identity = settings_digest(kind, network.program.canonical, images.digest, recipe, seed)
    torch.manual_seed(seed)
    module = network_module([operator.program for operator in network.operators])

    def after(step: int) -> None:
        if log is not None and (step + 1) % trainer.per_epoch == 0:
            with trainer.averaged() as averaged:
                log.note(averaged, recipe.rate_at(step, trainer.steps), trainer.loss)

    trainer = Trainer(module, images.train, recipe, seed=seed, after=after, beside=log)
    trainer.run(file, identity, progress, f"training {title}")
    trainer.use_average()
    module.eval()
    top1 = accuracy(module, images.test).top1
    low, high = wilson_interval(top1, len(images.test))
    blocks = [block for block in module.children() if isinstance(block, ProgramModule)]
    return TrainedNetwork(blocks, top1, low, high, accuracy(module, images.validation).top1)
