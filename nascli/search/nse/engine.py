"""The supernet of a round of NSE, trained together with its fitness indicators."""

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
from nascli.supernet.data.batches import EndlessBatches
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.prefix_tree import validation_accuracies
from nascli.supernet.separate import Supernet, sample_branches
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe
from nascli.supernet.training.trainer import Trainer

Array = npt.NDArray[np.float64]


class NseEngine:
    """Trains a new supernet and new fitness indicators for each round.

    Args:
        images: The data; the indicators learn from its validation part.
        recipe: The recipe of each round.
        fitness: How the indicators are learned.
        target: The cost at which the resource term aims (tau).
        seed: The seed of weights, data order, and configurations.
        folder: Where the checkpoints of the rounds are kept; None keeps none.
        progress: Reports how far the training is.
        calibration: The number of training images on which normalisation statistics are recalculated.
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
        """Train a round: weights at every step; indicators, and simplification by them, at every second one.

        Args:
            number: The number of the round, from 0.
            space: The space of the round.
            cost: The cost over that space, for the resource term.
            keep: Says after each update of the indicators which operations stay.

        Raises:
            TrainingError: The loss is not finite.
            CheckpointError: The checkpoint of the round belongs to other settings.
        """
        seed = self._seed * 1000 + number
        torch.manual_seed(seed)
        supernet = Supernet(space)
        fitness = FitnessIndicators(supernet, cost, self._target, self._settings, seed)

        batches = EndlessBatches(
            self._images.validation,
            self._recipe.batch,
            seed=self._seed,
            stream=NseStream.VALIDATION_ORDER,
            indices=(number,),
            share=True,
        )

        def path(step: int) -> Sequence[int]:
            rng = generator(self._seed, NseStream.PATHS, number, step)
            return sample_branches(fitness.layers, fitness.alive, rng)

        def after(step: int) -> None:
            if step % 2 and step >= self._settings.start * trainer.steps:
                self._update(fitness, batches, step, keep)
            if (step + 1) % trainer.steps_per_epoch == 0:
                fitness.record()

        trainer = Trainer(
            supernet,
            self._images.train,
            self._recipe,
            seed=seed,
            path_of_step=path,
            on_step_end=after,
            companion=fitness,
        )
        file = None if self._folder is None else self._folder / f"round{number + 1}.safetensors"
        identity = settings_digest(
            "nse-2", space.digest, self._images.digest, self._recipe, self._settings, self._seed, number
        )
        trainer.run(file, identity, self._progress, f"training the supernet of round {number + 1}")
        self._current = (number, supernet)
        return fitness.result()

    def _update(self, fitness: FitnessIndicators, batches: EndlessBatches, step: int, keep: Simplify) -> None:
        """Step the indicators on a batch of validation images, and drop the operations that do not stay."""
        fitness.step(step, *batches.at(step // 2), weight=batches.weight)
        thetas = [theta.tolist() for theta in fitness.thetas]
        stays = keep(thetas, [alive.tolist() for alive in fitness.alive])
        fitness.alive = [np.array(row) for row in stays]

    def accuracies(self, number: int, space: Space, population: Population) -> Array:
        """Evaluate `(n, layers)` architectures in the trained supernet of a round.

        Args:
            number: The number of the round that was trained last.
            space: The space of the round.
            population: Architectures of that space.

        Returns:
            `(n,)` top-1 on the validation part, between 0 and 1.
        """
        if self._current is None or self._current[0] != number:
            raise AssertionError("a round is evaluated right after it was trained")
        self._progress.start(f"evaluating architectures of round {number + 1}", len(population))
        return validation_accuracies(
            self._current[1], self._images, population, self._calibration, self._progress.advance
        )
