"""Training of a plain network from scratch, and its evaluation on the test part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from nascli.progress import Progress
from nascli.spaces.network import Network
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.accuracy import accuracy, wilson_interval
from nascli.supernet.modules import ProgramModule, network_module
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.epochs import EpochLog
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.teaching import Distiller, Teaching
from nascli.supernet.training.trainer import Trainer


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network and its accuracy.

    Attributes:
        blocks: Modules of the network in evaluation order, in evaluation mode, on the CPU.
        top1: Top-1 on the test part, from 0 to 1.
        low: Lower end of its 95 % Wilson interval.
        high: Upper end of its 95 % Wilson interval.
        validation_top1: Top-1 on the validation part, from 0 to 1.
    """

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
    compile: bool = False,
    teaching: Teaching | None = None,
) -> TrainedNetwork:
    """Train a network from scratch where the images are delivered, and evaluate it once on the test part.

    Args:
        network: Network to train.
        images: Data set; weights are fitted to its training part.
        recipe: How to train.
        seed: Seed of weights and data order.
        file: Checkpoint. An existing one is continued, or loaded if it is finished.
        progress: Progress display.
        title: Name of the network, for the display.
        log: Log that records every epoch; its state is kept in the checkpoint.
        compile: Whether the network is compiled by `torch.compile`.
        teaching: What the network learns from beside the labels; None for the labels alone.

    Raises:
        TrainingError: The loss or the gradient is not finite.
        CheckpointError: The checkpoint belongs to another network, data set, recipe, seed, or teacher.
    """
    kind = "network" if log is None else "network with epochs"
    taught = [] if teaching is None else [teaching]
    identity = settings_digest(kind, network.program.canonical, images.digest, recipe, seed, *taught)
    torch.manual_seed(seed)
    module = network_module([operator.program for operator in network.operators])

    def record_epoch(step: int) -> None:
        if log is not None and (step + 1) % trainer.steps_per_epoch == 0:
            with trainer.averaged() as averaged:
                log.record_epoch(averaged, recipe.rate_at(step, trainer.steps), trainer.loss)

    trainer = Trainer(
        module,
        images.train,
        recipe,
        seed=seed,
        on_step_end=record_epoch,
        companion=log,
        compile=compile,
        teacher=None if teaching is None else Distiller(teaching, module, seed),
    )
    trainer.run(file, identity, progress, f"training {title}")
    trainer.use_average()
    distributed.share_buffers(module)
    module.eval()
    top1 = accuracy(module, images.test, shared=True).top1
    low, high = wilson_interval(top1, len(images.test))
    validation_top1 = accuracy(module, images.validation, shared=True).top1
    blocks = [block for block in module.cpu().children() if isinstance(block, ProgramModule)]
    return TrainedNetwork(blocks, top1, low, high, validation_top1)
