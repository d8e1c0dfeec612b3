"""The training of AutoSpace: the supernet of cells, and the gradients from which their fitness is learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.errors import CheckpointError
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.autospace.cell_supernet import CellSupernet
from nascli.search.autospace.populations import CellPopulations
from nascli.search.autospace.search import BlockShape, Cells, format_cells
from nascli.search.autospace.settings import GENES, AutoSpaceSettings, AutoSpaceStream
from nascli.spaces.space import Space
from nascli.supernet.data.batches import EndlessBatches
from nascli.supernet.data.images import Images
from nascli.supernet.differentiable import draw_pairs, frozen_weights, paired_forward
from nascli.supernet.modules import load_module
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint, save_checkpoint, settings_digest
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LearnedCells:
    """What AutoSpace learned.

    Attributes:
        cells: Per layer the K best cells.
        fitness: Per layer the fitness of these cells.
        history: For each mutation, the mean and largest fitness, and the share of distinct cells.
    """

    cells: tuple[Cells, ...]
    fitness: tuple[tuple[float, ...], ...]
    history: tuple[tuple[float, float, float], ...]

    @property
    def text(self) -> str:
        """The cells as text, as the autospace spaces take them."""
        return format_cells(self.cells)

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "cells": self.text,
            "fitness": [list(row) for row in self.fitness],
            "history": [list(row) for row in self.history],
        }


def learn_cells(
    space: Space,
    images: Images,
    settings: AutoSpaceSettings,
    recipe: Recipe,
    *,
    seed: int,
    file: Path | None,
    progress: Progress,
) -> LearnedCells:
    """Learn the cells of a space (Algorithms 1 and 2 of the supplement).

    Weights step on training images along one path. Every second step, the fitness of two cells of each layer receives
    a gradient on validation images (`nascli.supernet.differentiable`). The rate of the weights is constant, since cells
    that come late have to learn too. A killed evolution resumes at its last mutation.

    Args:
        space: A space of cells. Its shapes, widths, strides, and fixed blocks are used; its cells are not.
        images: The data; the fitness learns from its validation part.
        settings: The hyper-parameters. They decide the number of epochs, not the recipe.
        recipe: The recipe of the weights.
        seed: The seed of all random streams.
        file: The checkpoint; None keeps none.
        progress: Reports how far the training is.

    Raises:
        TrainingError: The loss is not finite.
        CheckpointError: The checkpoint belongs to other settings.
    """
    return _CellTraining(space, images, settings, recipe, seed=seed, file=file, progress=progress).run()


class _CellTraining:
    """The populations of all layers, and the supernet that some of their cells are in; see `learn_cells`."""

    def __init__(
        self,
        space: Space,
        images: Images,
        settings: AutoSpaceSettings,
        recipe: Recipe,
        *,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        self._images, self._settings = images, settings
        self._recipe = replace(recipe, floor=recipe.rate)
        self._seed, self._file, self._progress = seed, file, progress
        self._identity = settings_digest("autospace-2", space.digest, images.digest, recipe, settings, seed)
        self._per_epoch = max(1, len(images.train) // recipe.batch)
        self._steps = self._per_epoch * (settings.warmup + settings.evolution)
        self._step = 0
        self._batches = EndlessBatches(
            images.validation, recipe.batch, seed=seed, stream=AutoSpaceStream.VALIDATION_ORDER, share=True
        )
        blocks = [
            BlockShape(layer.input, layer.output.channels, -(-layer.input.height // layer.output.height))
            for layer in space.layers
        ]
        self._populations = CellPopulations(
            blocks, settings, generator(seed, AutoSpaceStream.FIRST_POPULATION)
        )
        torch.manual_seed(seed)
        self._supernet = CellSupernet(
            space.fixed[0].operator, blocks, self._populations.genes(), space.fixed[-1].operator
        )

    def run(self) -> LearnedCells:
        """Train and evolve to the end."""
        self._restore()
        while self._step < self._steps:
            self._train()
            if self._step < self._steps:
                self._change_cells()
            self._save()
        populations = self._populations
        best = [populations.best(layer) for layer in range(len(populations.cells))]
        return LearnedCells(
            tuple(cells for cells, _ in best),
            tuple(fitness for _, fitness in best),
            tuple(populations.history),
        )

    def _train(self) -> None:
        """Train until the next mutation with the cells that are in the supernet, and judge them."""
        end = min(self._steps, self._step + self._settings.frequency)
        fitness = self._populations.chosen_fitness()
        thetas = [torch.tensor(row, dtype=torch.float32, requires_grad=True) for row in fitness]
        gradients, draws = np.zeros(fitness.shape), np.zeros(fitness.shape)

        def path(step: int) -> list[int]:
            pairs = draw_pairs(thetas, generator(self._seed, AutoSpaceStream.PATHS, step))
            return [first for first, _ in pairs]

        def after(step: int) -> None:
            if step % 2:
                self._add_gradients(step, thetas, gradients, draws)

        trainer = Trainer(
            self._supernet,
            self._images.train,
            self._recipe,
            seed=self._seed,
            path_of_step=path,
            on_step_end=after,
            steps=self._steps,
        )
        trainer.step = self._step
        trainer.run(None, self._identity, self._progress, "evolving cells", until=end)
        self._step = end
        self._populations.judge(gradients, draws)

    def _add_gradients(self, step: int, thetas: Sequence[Tensor], gradients: Array, draws: Array) -> None:
        """Add the gradients of two cells of each layer on a batch of validation images.

        Args:
            step: The number of the step.
            thetas: Per layer the `(K,)` fitness of the cells in the supernet.
            gradients: `(layers, K)` sums of gradients, which are changed.
            draws: `(layers, K)` numbers of gradients, which are changed.
        """
        pairs = draw_pairs(thetas, generator(self._seed, AutoSpaceStream.CELL_PAIRS, step))
        images, labels = self._batches.at(step // 2)
        with frozen_weights(self._supernet):
            logits = paired_forward(self._supernet.blocks, images, pairs, thetas)
            (self._batches.weight * F.cross_entropy(logits, labels)).backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(thetas)
        for layer, (pair, theta) in enumerate(zip(pairs, thetas, strict=True)):
            if theta.grad is None:
                continue
            gradient, theta.grad = theta.grad.double().numpy(), None
            scale = self._populations.gradient_scale(layer, float(gradient[pair[0]]))
            for cell in set(pair):
                gradients[layer, cell] += gradient[cell] / max(scale, 1e-12)
                draws[layer, cell] += 1

    def _change_cells(self) -> None:
        """Put other cells into the supernet: in the warm-up those drawn least, then parents and their children."""
        settings, populations = self._settings, self._populations
        rng = generator(self._seed, AutoSpaceStream.EVOLUTION, self._step)
        evolved = self._step - settings.warmup * self._per_epoch
        if evolved < 0:
            populations.choose_least_drawn(rng)
        else:
            share = evolved / max(1, settings.evolution * self._per_epoch)
            first_gene = (evolved // settings.frequency) % (GENES - settings.window + 1)
            near = evolved < settings.reference_epochs * self._per_epoch
            populations.evolve(settings.team(share), first_gene, rng, near=near)
        torch.manual_seed(self._seed * 100_003 + self._step)
        self._supernet.replace(populations.genes(), keep=settings.keep_weights)

    def _save(self) -> None:
        if self._file is None or not distributed.is_first_process():
            return
        tensors = {f"module/{name}": tensor for name, tensor in self._supernet.state_dict().items()}
        tensors |= {f"bank/{name}": tensor for name, tensor in self._supernet.bank.items()}
        for name, array in self._populations.state().items():
            tensors[f"state/{name}"] = torch.from_numpy(array.copy())
        save_checkpoint(
            self._file, tensors, {"identity": self._identity, "step": self._step, "steps": self._steps}
        )

    def _restore(self) -> None:
        if self._file is None or not self._file.exists():
            return
        tensors, state = load_checkpoint(self._file)
        if state.get("identity") != self._identity:
            raise CheckpointError(f"{self._file} belongs to other settings.", "Remove it to begin anew.")
        prefix = "state/"
        self._populations.load(
            {
                name.removeprefix(prefix): tensor.numpy()
                for name, tensor in tensors.items()
                if name.startswith(prefix)
            }
        )
        self._step = int(state["step"])
        self._supernet.replace(self._populations.genes(), keep=False)
        self._supernet.bank = {
            name.removeprefix("bank/"): tensor for name, tensor in tensors.items() if name.startswith("bank/")
        }
        load_module(self._supernet, tensors)
