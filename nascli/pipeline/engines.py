"""What PC-NAS, ProxylessNAS and NSE need of a supernet: training by stages or rounds, and evaluating many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from nascli.costmodel import Budget, ChainCost
from nascli.progress import Progress
from nascli.search.nse.fitness import Fitness
from nascli.search.nse.rounds import Trained
from nascli.search.nse.search import Keep
from nascli.search.pcnas.search import PathOf
from nascli.search.proxyless.engine import PathChoice
from nascli.spaces.space import Codes, Space
from nascli.supernet.data.batches import endless_batch
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.prefix_tree import LEAVES, PrefixTree, validation_accuracies
from nascli.supernet.separate import Supernet, uniform_branches
from nascli.supernet.training.recipe import FitnessSettings, Recipe
from nascli.supernet.training.trainer import Trainer, digest

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
        self._identity = digest(
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

    def quick_accuracies(self, codes: Codes, seed: Sequence[int]) -> Array:
        """`(n,)` top-1 of each on one mini-batch; neighbours in the list see different ones."""
        validation = self._images.validation
        order = torch.from_numpy(np.random.default_rng(list(seed)).permutation(len(validation)))
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

    def accuracies(self, codes: Codes, calibration: int = 256) -> Array:
        """`(n,)` top-1 on the whole validation part."""
        self._progress.start("evaluating the pool", len(codes))
        return validation_accuracies(self.supernet, self._images, codes, calibration, self._progress.advance)


class ChoiceEngine:
    """A single-path supernet whose choices are learned by gradient (ProxylessNAS).

    Args:
        space: single-path.
        images: data; choices learn from its validation part.
        recipe: how weights train.
        gates: how choices learn.
        target: the budget whose upper bound the expected cost is kept to.
        seed: of everything.
        file: the checkpoint; None keeps nothing.
        progress: is shown the training.
    """

    def __init__(
        self,
        space: Space,
        images: Images,
        recipe: Recipe,
        gates: FitnessSettings,
        target: Budget,
        *,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        torch.manual_seed(seed)
        self.supernet = Supernet(space)
        self._images, self._file, self._progress = images, file, progress
        choice = PathChoice(self.supernet, target.cost, target.constraint.high, gates, seed)

        def path(step: int) -> Sequence[int]:
            if step < gates.start * trainer.steps:
                return space.sample(1, np.random.default_rng([seed, 83, step]))[0].tolist()  # type: ignore[no-any-return]
            return choice.path(step)

        def after(step: int) -> None:
            if step % 2 and step >= gates.start * trainer.steps:
                choice.step(step, *endless_batch(images.validation, recipe.batch, [seed, 84], step // 2))

        trainer = Trainer(
            self.supernet, images.train, recipe, seed=seed, path=path, after=after, beside=choice
        )
        self._trainer, self._choice = trainer, choice
        self._identity = digest(
            "proxyless-1", space.digest, images.digest, recipe, gates, seed, str(target.constraint)
        )

    def train(self) -> list[Array]:
        """Train to the end; returns per layer the `(candidates,)` log-probabilities."""
        title = f"training {self.supernet.space.name} with its choices"
        self._trainer.run(self._file, self._identity, self._progress, title)
        return list(self._choice.scores())

    def accuracies(self, codes: Codes, calibration: int = 256) -> Array:
        """`(n,)` top-1 on the validation part."""
        self._progress.start("evaluating the most probable networks", len(codes))
        return validation_accuracies(self.supernet, self._images, codes, calibration, self._progress.advance)


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
        fitness: FitnessSettings,
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

    def train(self, number: int, space: Space, cost: ChainCost, keep: Keep) -> Trained:
        """Train a round; weights every step; indicators, and simplification by them, every second one."""
        torch.manual_seed(self._seed * 1000 + number)
        supernet = Supernet(space)
        fitness = Fitness(supernet, cost, self._target, self._settings, self._seed * 1000 + number)

        images, seed = self._images, [self._seed, 43, number]

        def path(step: int) -> Sequence[int]:
            return uniform_branches(
                fitness.layers, fitness.alive, np.random.default_rng([self._seed, 42, number, step])
            )

        def after(step: int) -> None:
            if step % 2 and step >= self._settings.start * trainer.steps:
                fitness.step(step, *endless_batch(images.validation, self._recipe.batch, seed, step // 2))
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
        identity = digest(
            "nse-2", space.digest, self._images.digest, self._recipe, self._settings, self._seed, number
        )
        trainer.run(file, identity, self._progress, f"training the supernet of round {number + 1}")
        self._current = (number, supernet)
        return Trained(
            tuple(tuple(float(v) for v in theta.detach()) for theta in fitness.thetas),
            tuple(tuple(bool(v) for v in alive) for alive in fitness.alive),
            tuple(tuple(tuple(theta) for theta in moment) for moment in fitness.trajectory),
        )

    def accuracies(self, number: int, space: Space, codes: Codes) -> Array:
        """`(n,)` top-1 on the validation part in a round's trained supernet."""
        if self._current is None or self._current[0] != number:
            raise AssertionError("a round is evaluated right after it was trained")
        self._progress.start(f"evaluating architectures of round {number + 1}", len(codes))
        return validation_accuracies(
            self._current[1], self._images, codes, self._calibration, self._progress.advance
        )
