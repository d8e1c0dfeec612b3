"""Searching for the space: jobs that end in a space which the other algorithms search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nascli.costmodel.staged import StagedCost, staged_macs
from nascli.errors import CheckpointError
from nascli.progress import Progress
from nascli.search.autospace import (
    GENES,
    AutoSpace,
    Cells,
    compensated,
    encode,
    first_population,
    madds,
    mutate,
    tournament,
)
from nascli.search.nss import Bins, Nss, elite, mean_cost, require_reachable
from nascli.spaces.catalog import make_space
from nascli.spaces.definitions.cells import cell_of
from nascli.spaces.definitions.elite import format_ranges
from nascli.spaces.library.cells import REFERENCE
from nascli.spaces.operators import Operator
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet import checkpoint
from nascli.supernet.cells import CellSupernet
from nascli.supernet.data import Images, endless_batch
from nascli.supernet.masked import MaskedSupernet, SpaceDistribution
from nascli.supernet.recipe import Recipe
from nascli.supernet.training import Trainer, digest, load_module


@dataclass(frozen=True)
class EliteSpace:
    """What Network Space Search found.

    Attributes:
        chosen: per stage the bins of depths and of widths.
        bins: their sizes, and the space they are bins of.
        cost: what was aimed at.
        mean: mean cost of its networks.
        probabilities: per stage the chances of the bins.
    """

    chosen: tuple[tuple[int, int], ...]
    bins: Bins
    cost: StagedCost
    mean: float
    probabilities: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

    @property
    def text(self) -> str:
        """The ranges, as the space nss-elite takes them."""
        return format_ranges(self.bins.ranges(self.chosen))

    def chain(self) -> Space:
        """The space that the other algorithms search."""
        space = self.bins.space
        made = make_space(
            "nss-elite",
            ranges=self.text,
            resolution=space.input.height,
            classes=space.classes,
            channels=space.input.channels,
            stem=space.stem,
        )
        assert isinstance(made, Space)
        return made

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "space": self.bins.space.spec,
            "chosen": [list(pair) for pair in self.chosen],
            "ranges": self.text,
            "cost": self.cost.name,
            "mean_cost": self.mean,
            "probabilities": [[list(d), list(w)] for d, w in self.probabilities],
        }


def search_space(
    space: StagedSpace,
    images: Images,
    target: float,
    settings: Nss,
    recipe: Recipe,
    *,
    seed: int,
    file: Path | None,
    progress: Progress,
    cost: StagedCost | None = None,
) -> EliteSpace:
    """Network Space Search: train the masked supernet and the distribution, and draw the Elite Space.

    Weights step on training images along architectures drawn uniformly from drawn spaces; every second step the
    distribution steps on validation images, after the warm-up. Resumable from `file` at any step.

    Args:
        space: of stages.
        images: data.
        target: what networks of the Elite Space shall cost on average.
        settings: hyper-parameters.
        recipe: how weights train.
        seed: of everything.
        file: the checkpoint; None keeps nothing.
        progress: is shown the training.
        cost: MACs by default; or latency, which the paper leaves for later.

    Raises:
        InfeasibleError: a target outside of the space's range.
    """
    cost = staged_macs(space) if cost is None else cost
    require_reachable(cost, target)
    bins = Bins(space, settings.depth_bin, settings.width_bin)
    torch.manual_seed(seed)
    supernet = MaskedSupernet(space)
    distribution = SpaceDistribution(
        supernet,
        settings.depth_bin,
        settings.width_bin,
        target=target,
        cost=cost,
        weight=settings.weight,
        rate=settings.rate,
        temperatures=(settings.first, settings.last),
        seed=seed,
    )

    def warming(step: int) -> bool:
        return step < settings.warmup * trainer.steps

    def after(step: int) -> None:
        if step % 2 and not warming(step):
            share = (step / trainer.steps - settings.warmup) / (1 - settings.warmup)
            distribution.step(
                step, share, *endless_batch(images.validation, recipe.batch, [seed, 64], step // 2)
            )

    trainer = Trainer(
        supernet,
        images.train,
        recipe,
        seed=seed,
        path=lambda step: distribution.draw(step, warming(step)),
        after=after,
        beside=distribution,
    )
    identity = digest("nss-2", space.spec, images.digest, recipe, settings, seed, target, cost)
    trainer.run(file, identity, progress, f"searching for a space within {space.spec}")
    rng = np.random.default_rng([seed, 63])
    probabilities = distribution.probabilities()
    chosen = elite(bins, probabilities, target, settings.drawn, rng, cost)
    return EliteSpace(
        chosen,
        bins,
        cost,
        mean_cost(cost, bins, chosen, rng),
        tuple((tuple(map(float, d)), tuple(map(float, w))) for d, w in probabilities),
    )


@dataclass(frozen=True)
class LearnedCells:
    """What AutoSpace learned.

    Attributes:
        cells: per layer the top K cells.
        fitness: `(layers, K)` of these.
        history: per mutation the mean and largest fitness, and the share of distinct cells of the population.
    """

    cells: tuple[Cells, ...]
    fitness: tuple[tuple[float, ...], ...]
    history: tuple[tuple[float, float, float], ...]

    @property
    def text(self) -> str:
        """The cells, as the autospace spaces take them."""
        return encode(self.cells)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "cells": self.text,
            "fitness": [list(row) for row in self.fitness],
            "history": [list(row) for row in self.history],
        }


def learn_cells(
    space: Space,
    images: Images,
    settings: AutoSpace,
    recipe: Recipe,
    *,
    seed: int,
    file: Path | None,
    progress: Progress,
) -> LearnedCells:
    """AutoSpace's Algorithms 1 and 2 on the places of a space of cells; resumable at every mutation.

    Args:
        space: gives the places (shapes, widths, strides) and the fixed blocks; its own cells are not used.
        images: data.
        settings: hyper-parameters; their epochs count, not the recipe's.
        recipe: how weights train.
        seed: of everything.
        file: the checkpoint; None keeps nothing.
        progress: is shown the training.
    """
    return _Evolution(space, images, settings, recipe, seed, file, progress).run()


class _Evolution:
    """A population per layer, and the supernet that its fittest cells are in."""

    def __init__(
        self,
        space: Space,
        images: Images,
        settings: AutoSpace,
        recipe: Recipe,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        self.images, self.settings, self.recipe = images, settings, recipe
        self.seed, self.file, self.progress = seed, file, progress
        self.places = [
            (layer.input, layer.output.channels, -(-layer.input.height // layer.output.height))
            for layer in space.layers
        ]
        reference = np.array([[*REFERENCE, 1, 0]], dtype=np.int8)
        self.limits = [
            (shape, out, stride, settings.most_madds * float(madds(reference, shape, out, stride)[0]))
            for shape, out, stride in self.places
        ]
        self.stem, self.head = space.fixed[0][1], space.fixed[-1][1]
        self.identity = digest("autospace-1", space.digest, images.digest, recipe, settings, seed)
        self.per_epoch = max(1, len(images.train) // recipe.batch)
        self.steps = self.per_epoch * (settings.warmup + settings.evolution)
        rng = np.random.default_rng([seed, 71])
        self.cells = first_population(len(self.places), settings, rng)
        self.fitness = np.zeros(self.cells.shape[:2])
        self.then = self.fitness.copy()
        self.chosen = tournament(rng.random(self.fitness.shape), settings.cells, settings.first_team, rng)
        self.history: list[tuple[float, float, float]] = []
        self.step = 0
        torch.manual_seed(seed)
        self.supernet = CellSupernet(self.stem, self._operators(), self.head)

    def _operators(self) -> list[list[Operator]]:
        return [
            [
                cell_of(shape, out, stride, tuple(int(g) for g in self.cells[layer, i]))
                for i in self.chosen[layer]
            ]
            for layer, (shape, out, stride) in enumerate(self.places)
        ]

    def run(self) -> LearnedCells:
        self._restore()
        while self.step < self.steps:
            self._train()
            self._update_fitness()
            if self.step >= self.settings.warmup * self.per_epoch and self.step < self.steps:
                self._evolve()
            self._save()
        k = self.settings.cells
        best = [self._distinct_best(layer, k) for layer in range(len(self.places))]
        return LearnedCells(
            tuple(self.cells[layer, rows] for layer, rows in enumerate(best)),
            tuple(tuple(float(self.fitness[layer, i]) for i in rows) for layer, rows in enumerate(best)),
            tuple(self.history),
        )

    def _distinct_best(self, layer: int, k: int) -> list[int]:
        """The fittest members with different genes."""
        rows: dict[tuple[int, ...], int] = {}
        for i in np.argsort(-self.fitness[layer], kind="stable"):
            rows.setdefault(tuple(self.cells[layer, i].tolist()), int(i))
        return list(rows.values())[:k]

    def _train(self) -> None:
        end = min(self.steps, self.step + self.settings.frequency)
        values = np.take_along_axis(self.fitness, self.chosen, axis=1)
        self.supernet.set_fitness(values)
        chances = np.exp(values - values.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)

        def path(step: int) -> list[int]:
            rng = np.random.default_rng([self.seed, 72, step])
            return [int(rng.choice(len(p), p=p)) for p in chances]

        trainer = Trainer(
            self.supernet, self.images.train, self.recipe, seed=self.seed, path=path, steps=self.steps
        )
        trainer.step = self.step
        trainer.run(None, self.identity, self.progress, "evolving cells", until=end)
        self.step = end

    def _update_fitness(self) -> None:
        """Down the compensated gradient of the loss, for the cells that were in the supernet."""
        rows = np.arange(len(self.places))[:, None]
        gradient = self.supernet.gradients() / self.settings.frequency
        now = self.fitness[rows, self.chosen]
        # Gradients of a gate are tiny beside a fitness of order one; their common scale is taken out, and
        # first: the compensation squares them, and would vanish.
        gradient = gradient / max(float(np.abs(gradient).mean()), 1e-12)
        moved = compensated(gradient, now, self.then[rows, self.chosen], self.settings.compensation)
        self.fitness[rows, self.chosen] = now - self.settings.rate * np.clip(moved, -3, 3)
        self.then[rows, self.chosen] = now

    def _evolve(self) -> None:
        """Tournament, mutation, and the children's entry into population and supernet."""
        settings, layers = self.settings, np.arange(len(self.places))[:, None]
        evolving = self.step - settings.warmup * self.per_epoch
        share = evolving / max(1, settings.evolution * self.per_epoch)
        rng = np.random.default_rng([self.seed, 73, self.step])
        parents = tournament(self.fitness, settings.cells, settings.team(share), rng)
        near = evolving < settings.reference_epochs * self.per_epoch
        start = (evolving // settings.frequency) % (GENES - settings.window + 1)
        children = mutate(self.cells[layers, parents], start, settings, rng, near=near, limits=self.limits)
        # Children take the places of the least fit, and begin with their parents' fitness.
        worst = np.argsort(self.fitness, axis=1, kind="stable")[:, : settings.cells]
        inherited = self.fitness[layers, parents]
        self.cells[layers, worst] = children
        self.fitness[layers, worst] = inherited
        self.then[layers, worst] = inherited
        self.chosen = worst
        torch.manual_seed(self.seed * 100_003 + self.step)
        for layer, cells in enumerate(self._operators()):
            self.supernet.replace(layer, cells)
        distinct = np.mean([len(np.unique(layer, axis=0)) / len(layer) for layer in self.cells])
        self.history.append((float(self.fitness.mean()), float(self.fitness.max()), float(distinct)))

    def _save(self) -> None:
        if self.file is None:
            return
        tensors = {f"module/{k}": v for k, v in self.supernet.state_dict().items()}
        for name in ("cells", "fitness", "then", "chosen"):
            tensors[f"state/{name}"] = torch.from_numpy(getattr(self, name).copy())
        tensors["state/history"] = torch.tensor(self.history, dtype=torch.float64).reshape(-1, 3)
        checkpoint.save(
            self.file, tensors, {"identity": self.identity, "step": self.step, "steps": self.steps}
        )

    def _restore(self) -> None:
        if self.file is None or not self.file.exists():
            return
        tensors, state = checkpoint.load(self.file)
        if state.get("identity") != self.identity:
            raise CheckpointError(f"{self.file} belongs to other settings.", "Remove it to begin anew.")
        for name in ("cells", "fitness", "then", "chosen"):
            setattr(self, name, tensors[f"state/{name}"].numpy().copy())
        self.history = [tuple(row) for row in tensors["state/history"].tolist()]
        self.step = int(state["step"])
        for layer, cells in enumerate(self._operators()):
            self.supernet.replace(layer, cells)
        load_module(self.supernet, tensors)
