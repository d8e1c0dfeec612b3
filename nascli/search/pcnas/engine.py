"""The supernet of PC-NAS, which trains on the pools stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nascli.progress import Progress
from nascli.search.pcnas.search import PathOf
from nascli.spaces.space import Population, Space
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.prefix_tree import ARCHITECTURES_PER_TREE, PrefixTree, validation_accuracies
from nascli.supernet.separate import Supernet
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

Array = npt.NDArray[np.float64]

_MINI_BATCH = 128


class PcnasEngine:
    """One supernet that is trained in stages.

    Args:
        space: A single-path space.
        images: The data.
        recipe: How to train; its epochs are not used.
        warmup: Epochs of stage 0.
        interval: Epochs of every further stage.
        stages: The number of further stages.
        seed: The seed of weights and data order.
        file: The checkpoint; None keeps none.
        progress: Reports how far the training is.

    Raises:
        CheckpointError: The checkpoint belongs to other settings.
    """

    def __init__(
        self,
        space: Space,
        images: Images,
        recipe: Recipe,
        *,
        warmup: int,
        interval: int,
        stages: int,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        torch.manual_seed(seed)
        self.supernet = Supernet(space)
        self._images, self._progress, self._file = images, progress, file
        self._warmup, self._interval = warmup, interval
        per_epoch = max(1, len(images.train) // recipe.batch)
        steps = per_epoch * (warmup + stages * interval)
        self._trainer = Trainer(self.supernet, images.train, recipe, seed=seed, steps=steps)
        self._identity = settings_digest(
            "pcnas-1", space.digest, images.digest, recipe, seed, warmup, interval, stages
        )
        if file is not None and file.exists():
            self._trainer.restore(file, self._identity)

    def train(self, stage: int, path: PathOf) -> None:
        """Train to the end of a stage; a stage that is over already takes no time.

        Raises:
            TrainingError: The loss is not finite.
        """
        end = self._trainer.steps_per_epoch * (self._warmup + stage * self._interval)
        if self._trainer.step >= end:
            return
        self._trainer.path_of_step = path
        title = "warming the supernet up" if stage == 0 else f"training on the pool of layer {stage}"
        self._trainer.run(self._file, self._identity, self._progress, title, until=end)

    def quick_accuracies(self, population: Population, rng: np.random.Generator) -> Array:
        """Evaluate each architecture on one mini-batch; neighbours in the population get different mini-batches.

        Args:
            population: `(n, layers)` architectures.
            rng: The source of the order of the validation images.

        Returns:
            `(n,)` top-1 accuracies, between 0 and 1.
        """
        validation = self._images.validation
        order = rng.permutation(len(validation))
        min_size = min(_MINI_BATCH, len(order)) // 2
        cuts = range(_MINI_BATCH, len(order), _MINI_BATCH)
        mini_batches = [batch for batch in np.split(order, cuts) if len(batch) >= min_size]
        accuracies = np.empty(len(population))
        self._progress.start("evaluating potentials", len(population))
        for number, (images, labels) in enumerate(validation.evaluated(mini_batches)):
            rows = np.arange(number, len(population), len(mini_batches))
            # Sorted, so that architectures with a common prefix share its computation.
            rows = rows[np.lexsort(population[rows].T[::-1])]
            size = ARCHITECTURES_PER_TREE * distributed.world_size()
            for start in range(0, len(rows), size):
                group = rows[start : start + size]
                top1 = partial(self._quick_accuracies, images, labels)
                accuracies[group] = distributed.compute_shares(population[group].tolist(), top1)
                self._progress.advance(len(group))
        return accuracies

    def _quick_accuracies(
        self, images: Tensor, labels: Tensor, architectures: Sequence[Sequence[int]]
    ) -> list[float]:
        return PrefixTree(self.supernet, architectures).quick_accuracies(images, labels)

    def accuracies(self, population: Population, calibration: int = 256) -> Array:
        """Evaluate architectures on the whole validation part.

        Args:
            population: `(n, layers)` architectures.
            calibration: The number of training images on which normalisation statistics are recalculated.

        Returns:
            `(n,)` top-1 accuracies, between 0 and 1.
        """
        self._progress.start("evaluating the pool", len(population))
        return validation_accuracies(
            self.supernet, self._images, population, calibration, self._progress.advance
        )
