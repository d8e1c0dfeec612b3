"""The supernet of PC-NAS, trained on its pools stage after stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from nascli.progress import Progress
from nascli.search.pcnas.search import PathOf
from nascli.spaces.space import Population, Space
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.prefix_tree import LEAVES, PrefixTree, validation_accuracies
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer, settings_digest

Array = npt.NDArray[np.float64]

_MINI_BATCH = 128


class PcnasEngine:
    """One supernet that is trained stage after stage.

    Args:
        space: single-path.
        images: data.
        recipe: how to train; its epochs are not used.
        warmup, interval, stages: epochs of the first stage and of each other, and how many others.
        seed: of weights and data order.
        file: the checkpoint; None keeps nothing.
        progress: is shown the training.
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
        self._images, self._recipe, self._progress, self._file = images, recipe, progress, file
        self._warmup, self._interval = warmup, interval
        per_epoch = max(1, len(images.train) // recipe.batch)
        total = per_epoch * (warmup + stages * interval)
        self._trainer = Trainer(self.supernet, images.train, recipe, seed=seed, steps=total)
        self._identity = settings_digest(
            "pcnas-1", space.digest, images.digest, recipe, seed, warmup, interval, stages
        )
        if file is not None and file.exists():
            self._trainer.restore(file, self._identity)

    def train(self, stage: int, path: PathOf) -> None:
        """Train to the end of a stage; one that is over already takes no time."""
        end = self._trainer.per_epoch * (self._warmup + stage * self._interval)
        if self._trainer.step >= end:
            return
        self._trainer.path = path
        title = "warming the supernet up" if stage == 0 else f"training on the pool of layer {stage}"
        self._trainer.run(self._file, self._identity, self._progress, title, until=end)

    def quick_accuracies(self, codes: Population, rng: np.random.Generator) -> Array:
        """`(n,)` top-1 of each on one mini-batch; neighbours in the list see different ones."""
        validation = self._images.validation
        order = torch.from_numpy(rng.permutation(len(validation)))
        parts = [
            part for part in torch.split(order, _MINI_BATCH) if len(part) >= min(_MINI_BATCH, len(order)) // 2
        ]
        scores = np.empty(len(codes))
        self._progress.start("evaluating potentials", len(codes))
        for number, part in enumerate(parts):
            rows = np.arange(number, len(codes), len(parts))
            rows = rows[np.lexsort(codes[rows].T[::-1])]
            for start in range(0, len(rows), LEAVES):
                some = rows[start : start + LEAVES]
                tree = PrefixTree(self.supernet, codes[some].tolist())
                scores[some] = tree.quick_accuracies(validation.images[part], validation.labels[part])
                self._progress.advance(len(some))
        return scores

    def accuracies(self, codes: Population, calibration: int = 256) -> Array:
        """`(n,)` top-1 on the whole validation part."""
        self._progress.start("evaluating the pool", len(codes))
        return validation_accuracies(self.supernet, self._images, codes, calibration, self._progress.advance)
