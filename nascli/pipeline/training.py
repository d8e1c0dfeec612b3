"""Jobs that train: the shared supernet of a space, and plain networks from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nascli.paths import home
from nascli.progress import Progress
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.supernet import checkpoint
from nascli.supernet.data import Images
from nascli.supernet.evaluation import accuracy, wilson_interval
from nascli.supernet.modules import ProgramModule, network_module
from nascli.supernet.supernet import Supernet
from nascli.supernet.training import Recipe, Trainer, digest, finished, load_module


@dataclass(frozen=True)
class Trained:
    """A trained network and how accurate it is on the test part."""

    blocks: list[ProgramModule]
    top1: float
    low: float
    high: float
    validation_top1: float


def supernet_identity(space: Space, images: Images, recipe: Recipe, seed: int) -> str:
    """What a trained supernet depends on: space, data, recipe and seed, and no budget."""
    return digest("supernet-aligned-1", space.digest, images.digest, recipe, seed)


def trained_supernet(
    space: Space, images: Images, recipe: Recipe, *, seed: int, progress: Progress
) -> tuple[Supernet, str, bool]:
    """The supernet of a space, trained once and then shared by every search of it.

    Returns:
        the supernet, its identity, and whether it had been trained before.
    """
    identity = supernet_identity(space, images, recipe, seed)
    file = home() / "supernets" / f"{identity}.safetensors"
    torch.manual_seed(seed)
    supernet = Supernet(space)
    reused = finished(file, identity)
    if reused:
        load_module(supernet, checkpoint.load(file)[0])
        progress.message(f"supernet {identity[:8]} of {space.spec} is trained already; reused")
    else:

        def path(step: int) -> Sequence[int]:
            return space.sample(1, np.random.default_rng([seed, 3, step]))[0].tolist()  # type: ignore[no-any-return]

        trainer = Trainer(supernet, images.train, recipe, seed=seed, path=path)
        trainer.run(file, identity, progress, f"training the supernet of {space.spec}")
    return supernet, identity, reused


def train_network(
    network: Network,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    file: Path,
    progress: Progress,
    title: str,
) -> Trained:
    """Train a network from scratch, or finish or load what `file` holds of it; then test it once."""
    identity = digest("network", network.program.canonical, images.digest, recipe, seed)
    torch.manual_seed(seed)
    module = network_module([operator.program for operator in network.operators])
    if finished(file, identity):
        load_module(module, checkpoint.load(file)[0])
    else:
        Trainer(module, images.train, recipe, seed=seed).run(file, identity, progress, f"training {title}")
    module.eval()
    top1 = accuracy(module, images.test).top1
    low, high = wilson_interval(top1, len(images.test))
    blocks = [block for block in module.children() if isinstance(block, ProgramModule)]
    return Trained(blocks, top1, low, high, accuracy(module, images.validation).top1)
