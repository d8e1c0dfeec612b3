"""AutoSpace: a job that ends in a space of learned cells, which the other algorithms search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from nascli.errors import CheckpointError
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.autospace.cell_supernet import CellSupernet
from nascli.search.autospace.search import (
    Cells,
    canonical_cells,
    cell_macs,
    compensated_gradient,
    first_population,
    format_cells,
    members_to_replace,
    mutate,
    tournament,
)
from nascli.search.autospace.settings import GENES, AutoSpaceSettings, AutoSpaceStream
from nascli.spaces.operators.dag_cell import REFERENCE
from nascli.spaces.space import Space
from nascli.supernet.data.batches import endless_batch
from nascli.supernet.data.images import Images
from nascli.supernet.differentiable import draw_pairs, frozen_weights, paired_forward
from nascli.supernet.modules import load_module
from nascli.supernet.training.checkpoint import load_checkpoint, save_checkpoint, settings_digest
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

_STATE = ("cells", "fitness", "gathered", "seen", "then", "chosen", "squares")
# A mean of few gradients is drawn to zero, as if so many more had been; a child begins with its parent's mean, as if it
# had been drawn so often.
_PRIOR, _INHERITED = 4.0, 2.0
_CLIP = 3.0


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
        return format_cells(self.cells)

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
    settings: AutoSpaceSettings,
    recipe: Recipe,
    *,
    seed: int,
    file: Path | None,
    progress: Progress,
) -> LearnedCells:
    """AutoSpace's Algorithms 1 and 2 on the places of a space of cells; resumable at every mutation.

    Weights step on training images along one path; every second step, the fitness of two cells of each layer receives
    a gradient on validation images (`nascli.supernet.differentiable`). The rate of the weights is constant, since cells
    that come late have to learn too.

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
    """A population per layer, and the supernet that some of its cells are in."""

    def __init__(
        self,
        space: Space,
        images: Images,
        settings: AutoSpaceSettings,
        recipe: Recipe,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        self.images, self.settings = images, settings
        self.recipe = replace(recipe, floor=recipe.rate)
        self.seed, self.file, self.progress = seed, file, progress
        self.places = [
            (layer.input, layer.output.channels, -(-layer.input.height // layer.output.height))
            for layer in space.layers
        ]
        reference = np.array([[*REFERENCE, 1, 0]], dtype=np.int8)
        self.limits = [
            (shape, out, stride, settings.most_madds * float(cell_macs(reference, shape, out, stride)[0]))
            for shape, out, stride in self.places
        ]
        self.identity = settings_digest("autospace-2", space.digest, images.digest, recipe, settings, seed)
        self.per_epoch = max(1, len(images.train) // recipe.batch)
        self.steps = self.per_epoch * (settings.warmup + settings.evolution)
        rng = generator(seed, AutoSpaceStream.FIRST_POPULATION)
        self.cells = first_population(len(self.places), settings, rng, self.limits)
        self.fitness = np.zeros(self.cells.shape[:2])
        self.gathered, self.seen = self.fitness.copy(), self.fitness.copy()
        self.then = self.fitness.copy()
        # Per layer the number and the sum of squares of its gradients: layers differ in their scale.
        self.squares = np.zeros((len(self.places), 2))
        self.chosen = self._unseen(rng)
        self.history: list[tuple[float, float, float]] = []
        self.step = 0
        torch.manual_seed(seed)
        self.supernet = CellSupernet(
            space.fixed[0].operator, self.places, self._genes(), space.fixed[-1].operator
        )

    def _genes(self) -> list[list[tuple[int, ...]]]:
        return [
            [tuple(map(int, one)) for one in canonical_cells(cells[chosen])]
            for cells, chosen in zip(self.cells, self.chosen, strict=True)
        ]

    def _unseen(self, rng: np.random.Generator) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
        """Members that were drawn least often, ties at random: in the warm-up all are to be judged."""
        order: np.ndarray[tuple[int, int], np.dtype[np.int64]]
        order = np.lexsort((rng.random(self.seen.shape), self.seen), axis=1)
        return order[:, : self.settings.cells]

    def run(self) -> LearnedCells:
        self._restore()
        while self.step < self.steps:
            self._train()
            if self.step < self.steps:
                self._move_on()
            self._save()
        k = self.settings.cells
        best = [self._distinct_best(layer, k) for layer in range(len(self.places))]
        return LearnedCells(
            tuple(canonical_cells(self.cells[layer, rows]) for layer, rows in enumerate(best)),
            tuple(tuple(float(self.fitness[layer, i]) for i in rows) for layer, rows in enumerate(best)),
            tuple(self.history),
        )

    def _distinct_best(self, layer: int, k: int) -> list[int]:
        """The fittest members that are different cells, those that were judged before those that were not."""
        plain = canonical_cells(self.cells[layer])
        rows: dict[tuple[int, ...], int] = {}
        for i in np.lexsort((-self.fitness[layer], self.seen[layer] == 0)):
            rows.setdefault(tuple(plain[i].tolist()), int(i))
        return list(rows.values())[:k]

    def _train(self) -> None:
        """So many iterations with the cells that are in the supernet, and what they make of its fitness."""
        end = min(self.steps, self.step + self.settings.frequency)
        values = np.take_along_axis(self.fitness, self.chosen, axis=1)
        thetas = [torch.tensor(row, dtype=torch.float32, requires_grad=True) for row in values]
        gathered, seen = np.zeros(values.shape), np.zeros(values.shape)

        def path(step: int) -> list[int]:
            return [a for a, _ in draw_pairs(thetas, generator(self.seed, AutoSpaceStream.PATHS, step))]

        def after(step: int) -> None:
            if step % 2 == 0:
                return
            pairs = draw_pairs(thetas, generator(self.seed, AutoSpaceStream.CELL_PAIRS, step))
            x, y = endless_batch(
                self.images.validation,
                self.recipe.batch,
                step // 2,
                seed=self.seed,
                stream=AutoSpaceStream.VALIDATION_ORDER,
            )
            with frozen_weights(self.supernet):
                loss = F.cross_entropy(paired_forward(self.supernet.blocks, x, pairs, thetas), y)
                loss.backward()  # type: ignore[no-untyped-call]
            for layer, (pair, theta) in enumerate(zip(pairs, thetas, strict=True)):
                if theta.grad is None:
                    continue
                gradient, theta.grad = theta.grad.double().numpy(), None
                self.squares[layer] += (1, float(gradient[pair[0]]) ** 2)
                scale = float(np.sqrt(self.squares[layer, 1] / self.squares[layer, 0]))
                for one in set(pair):
                    gathered[layer, one] += gradient[one] / max(scale, 1e-12)
                    seen[layer, one] += 1

        trainer = Trainer(
            self.supernet,
            self.images.train,
            self.recipe,
            seed=self.seed,
            path_of_step=path,
            on_step_end=after,
            steps=self.steps,
        )
        trainer.step = self.step
        trainer.run(None, self.identity, self.progress, "evolving cells", until=end)
        self.step = end
        self._judge(gathered, seen)

    def _judge(self, gathered: Any, seen: Any) -> None:
        """Down the compensated gradient of the loss, for the cells that were in the supernet."""
        rows = np.arange(len(self.places))[:, None]
        self.gathered[rows, self.chosen] += gathered
        self.seen[rows, self.chosen] += seen
        now = self.fitness[rows, self.chosen]
        if self.settings.compensation == "count":
            total, often = self.gathered[rows, self.chosen], self.seen[rows, self.chosen]
            self.fitness[rows, self.chosen] = -total / (often + _PRIOR)
        else:
            gradient = gathered / np.maximum(seen, 1)
            strength = self.settings.strength if self.settings.compensation == "delay" else 0.0
            moved = compensated_gradient(gradient, now, self.then[rows, self.chosen], strength)
            self.fitness[rows, self.chosen] = now - self.settings.rate * np.clip(moved, -_CLIP, _CLIP)
        self.then[rows, self.chosen] = now

    def _move_on(self) -> None:
        """Put other cells into the supernet: in the warm-up those not yet judged, then mutants and fit ones."""
        rng = generator(self.seed, AutoSpaceStream.EVOLUTION, self.step)
        if self.step < self.settings.warmup * self.per_epoch:
            self.chosen = self._unseen(rng)
        else:
            self._evolve(rng)
        torch.manual_seed(self.seed * 100_003 + self.step)
        self.supernet.replace(self._genes(), keep=self.settings.keep_weights)

    def _evolve(self, rng: np.random.Generator) -> None:
        """Tournament, mutation, and the children's entry into population and supernet."""
        settings, layers = self.settings, np.arange(len(self.places))[:, None]
        evolving = self.step - settings.warmup * self.per_epoch
        share = evolving / max(1, settings.evolution * self.per_epoch)
        parents = tournament(self.fitness, settings.cells, settings.team(share), rng)
        near = evolving < settings.reference_epochs * self.per_epoch
        start = (evolving // settings.frequency) % (GENES - settings.window + 1)
        count = max(1, round(settings.mutants * settings.cells))
        stay, mutated = parents[:, : settings.cells - count], parents[:, :count]
        children = mutate(self.cells[layers, mutated], start, settings, rng, near=near, limits=self.limits)
        held = stay
        if near:
            # The first member of each layer is the reference graph, which the others are held against.
            held = np.concatenate([stay, np.zeros((len(self.places), 1), dtype=np.int64)], axis=1)
        worst = members_to_replace(self.fitness, self.seen, held, count, rng)
        inherited = self.fitness[layers, mutated]
        self.cells[layers, worst] = children
        self.fitness[layers, worst] = self.then[layers, worst] = inherited
        self.gathered[layers, worst], self.seen[layers, worst] = -inherited * _INHERITED, _INHERITED
        self.chosen = np.concatenate([stay, worst], axis=1)
        distinct = np.mean(
            [len(np.unique(canonical_cells(layer), axis=0)) / len(layer) for layer in self.cells]
        )
        self.history.append((float(self.fitness.mean()), float(self.fitness.max()), float(distinct)))

    def _save(self) -> None:
        if self.file is None:
            return
        tensors = {f"module/{k}": v for k, v in self.supernet.state_dict().items()}
        tensors |= {f"bank/{k}": v for k, v in self.supernet.bank.items()}
        for name in _STATE:
            tensors[f"state/{name}"] = torch.from_numpy(getattr(self, name).copy())
        tensors["state/history"] = torch.tensor(self.history, dtype=torch.float64).reshape(-1, 3)
        save_checkpoint(
            self.file, tensors, {"identity": self.identity, "step": self.step, "steps": self.steps}
        )

    def _restore(self) -> None:
        if self.file is None or not self.file.exists():
            return
        tensors, state = load_checkpoint(self.file)
        if state.get("identity") != self.identity:
            raise CheckpointError(f"{self.file} belongs to other settings.", "Remove it to begin anew.")
        for name in _STATE:
            setattr(self, name, tensors[f"state/{name}"].numpy().copy())
        self.history = [tuple(row) for row in tensors["state/history"].tolist()]
        self.step = int(state["step"])
        self.supernet.replace(self._genes(), keep=False)
        self.supernet.bank = {k[5:]: v for k, v in tensors.items() if k.startswith("bank/")}
        load_module(self.supernet, tensors)
