"""The supernet of a round of NSE, with its fitness indicators."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from nascli.costmodel import ChainCost
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.nse.fitness import FitnessIndicators
from nascli.search.nse.rounds import RoundTraining
from nascli.search.nse.search import Simplify
from nascli.search.nse.settings import NseStream
from nascli.spaces.space import Population, Space
from nascli.supernet.data.batches import endless_batch
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.prefix_tree import validation_accuracies
from nascli.supernet.separate import Supernet, uniform_branches
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe
from nascli.supernet.training.trainer import Trainer, settings_digest

Array = npt.NDArray[np.float64]


class NseEngine:
    """A fresh supernet per round, with its fitness indicators.

    Args:
        images: data; the indicators learn from its validation part.
        recipe: how each round trains.
        fitness: how indicators learn.
        target: the demand aimed at, in the cost's unit.
        seed: of weights, data order and configurations.
        folder: where checkpoints are kept; None keeps nothing.
        progress: is shown the training.
        calibration: training images that statistics are recalculated on.
    """

    def __init__(
        self,
        images: Images,
        recipe: Recipe,
        fitness: ArchitectureParameterSettings,
        *,
        target: float,
        seed: int,
        folder: Path | None,
        progress: Progress,
        calibration: int = 256,
    ) -> None:
        self._images, self._recipe, self._settings = images, recipe, fitness
        self._target, self._seed, self._folder, self._progress = target, seed, folder, progress
        self._calibration = calibration
        self._current: tuple[int, Supernet] | None = None

    def train(self, number: int, space: Space, cost: ChainCost, keep: Simplify) -> RoundTraining:
        """Train a round; weights every step; indicators, and simplification by them, every second one."""
        torch.manual_seed(self._seed * 1000 + number)
        supernet = Supernet(space)
        fitness = FitnessIndicators(supernet, cost, self._target, self._settings, self._seed * 1000 + number)

        images = self._images

        def path(step: int) -> Sequence[int]:
            return uniform_branches(
                fitness.layers, fitness.alive, generator(self._seed, NseStream.PATHS, number, step)
            )

        def after(step: int) -> None:
            if step % 2 and step >= self._settings.start * trainer.steps:
                batch = endless_batch(
                    images.validation,
                    self._recipe.batch,
                    step // 2,
                    seed=self._seed,
                    stream=NseStream.VALIDATION_ORDER,
                    indices=(number,),
                )
                fitness.step(step, *batch)
                thetas = [theta.tolist() for theta in fitness.thetas]
                kept = keep(thetas, [alive.tolist() for alive in fitness.alive])
                fitness.alive = [np.array(row) for row in kept]
            if (step + 1) % trainer.per_epoch == 0:
                fitness.note()

        trainer = Trainer(
            supernet,
            self._images.train,
            self._recipe,
            seed=self._seed * 1000 + number,
            path=path,
            after=after,
            beside=fitness,
        )
        file = None if self._folder is None else self._folder / f"round{number + 1}.safetensors"
        identity = settings_digest(
            "nse-2", space.digest, self._images.digest, self._recipe, self._settings, self._seed, number
        )
        trainer.run(file, identity, self._progress, f"training the supernet of round {number + 1}")
        self._current = (number, supernet)
        return RoundTraining(
            tuple(tuple(float(v) for v in theta.detach()) for theta in fitness.thetas),
            tuple(tuple(bool(v) for v in alive) for alive in fitness.alive),
            tuple(tuple(tuple(theta) for theta in moment) for moment in fitness.trajectory),
        )

    def accuracies(self, number: int, space: Space, codes: Population) -> Array:
        """`(n,)` top-1 on the validation part in a round's trained supernet."""
        if self._current is None or self._current[0] != number:
            raise AssertionError("a round is evaluated right after it was trained")
        self._progress.start(f"evaluating architectures of round {number + 1}", len(codes))
        return validation_accuracies(
            self._current[1], self._images, codes, self._calibration, self._progress.advance
        )
