"""The populations of AutoSpace: per layer many cells with a fitness, of which some are in the supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nascli.search.autospace.search import (
    BlockShape,
    CellLimit,
    Cells,
    Genes,
    canonical_cells,
    cell_macs,
    compensated_gradient,
    first_population,
    members_to_replace,
    mutate,
    tournament,
)
from nascli.search.autospace.settings import AutoSpaceSettings
from nascli.spaces.operators.dag_cell import REFERENCE

Array = npt.NDArray[np.float64]
# A mean of few gradients is drawn to zero, as if there were so many more gradients of zero. A child begins with the
# mean of its parent, as if it had been drawn so often.
_PRIOR_COUNT, _INHERITED_COUNT = 4.0, 2.0
_MAX_GRADIENT = 3.0


class CellPopulations:
    """A population of cells for each layer, and what is known of each cell.

    Args:
        blocks: Per layer the shape of its cells.
        settings: The hyper-parameters.
        rng: The source of randomness of the first cells.

    Attributes:
        cells: `(layers, population, 8)` the genes of all cells.
        fitness: `(layers, population)` their fitness.
        chosen: `(layers, K)` the members that are in the supernet.
        history: For each mutation, the mean and largest fitness, and the share of distinct cells.
    """

    def __init__(
        self, blocks: Sequence[BlockShape], settings: AutoSpaceSettings, rng: np.random.Generator
    ) -> None:
        self._settings = settings
        reference = np.array([[*REFERENCE, 1, 0]], dtype=np.int8)
        self._limits = [
            CellLimit(*block, settings.most_madds * float(cell_macs(reference, *block)[0]))
            for block in blocks
        ]
        self.cells = first_population(len(blocks), settings, rng, self._limits)
        self.fitness = np.zeros(self.cells.shape[:2])
        # The sum of each cell's gradients, and how often it was drawn.
        self._gradients, self._draws = self.fitness.copy(), self.fitness.copy()
        # The fitness before the last update.
        self._previous = self.fitness.copy()
        # Per layer the number and the sum of squares of its gradients: layers differ in their scale.
        self._squares = np.zeros((len(blocks), 2))
        self.history: list[tuple[float, float, float]] = []
        self.choose_least_drawn(rng)

    @property
    def _layers(self) -> npt.NDArray[np.int64]:
        """The numbers of the layers, as a column."""
        return np.arange(len(self.cells))[:, None]

    def genes(self) -> list[list[Genes]]:
        """Return the genes of the cells in the supernet, per layer, without genes that change nothing."""
        return [
            [tuple(map(int, cell)) for cell in canonical_cells(cells[chosen])]
            for cells, chosen in zip(self.cells, self.chosen, strict=True)
        ]

    def chosen_fitness(self) -> Array:
        """Return the `(layers, K)` fitness of the cells in the supernet."""
        return np.take_along_axis(self.fitness, self.chosen, axis=1)

    def choose_least_drawn(self, rng: np.random.Generator) -> None:
        """Put the cells into the supernet that were drawn least often, ties at random: the warm-up judges all."""
        order: npt.NDArray[np.int64] = np.lexsort((rng.random(self._draws.shape), self._draws), axis=1)
        self.chosen = order[:, : self._settings.cells]

    def gradient_scale(self, layer: int, gradient: float) -> float:
        """Record a gradient of a layer, and return the root mean square of all its gradients."""
        self._squares[layer] += (1, gradient**2)
        return float(np.sqrt(self._squares[layer, 1] / self._squares[layer, 0]))

    def judge(self, gradients: Array, draws: Array) -> None:
        """Move the fitness of the cells in the supernet along the compensated gradient of the loss, downward.

        Args:
            gradients: `(layers, K)` the sums of their scaled gradients since the last call.
            draws: `(layers, K)` the numbers of these gradients.
        """
        settings, in_supernet = self._settings, (self._layers, self.chosen)
        self._gradients[in_supernet] += gradients
        self._draws[in_supernet] += draws
        now = self.fitness[in_supernet]
        if settings.compensation == "count":
            self.fitness[in_supernet] = -self._gradients[in_supernet] / (
                self._draws[in_supernet] + _PRIOR_COUNT
            )
        else:
            strength = settings.strength if settings.compensation == "delay" else 0.0
            mean = gradients / np.maximum(draws, 1)
            step = compensated_gradient(mean, now, self._previous[in_supernet], strength)
            self.fitness[in_supernet] = now - settings.rate * np.clip(step, -_MAX_GRADIENT, _MAX_GRADIENT)
        self._previous[in_supernet] = now

    def evolve(self, team: int, first_gene: int, rng: np.random.Generator, *, near: bool) -> None:
        """Choose parents by tournament, mutate them, and put the children into the populations and the supernet.

        Args:
            team: The size of the tournament's teams.
            first_gene: The first gene of the mutation window.
            rng: The source of randomness.
            near: Whether cells must stay near the reference graph.
        """
        settings, layers = self._settings, self._layers
        parents = tournament(self.fitness, settings.cells, team, rng)
        count = max(1, round(settings.mutants * settings.cells))
        staying, mutated = parents[:, : settings.cells - count], parents[:, :count]
        children = mutate(
            self.cells[layers, mutated], first_gene, settings, rng, near=near, limits=self._limits
        )
        protected = staying
        if near:
            # The first member of each layer is the reference graph, with which the others are compared.
            protected = np.concatenate([staying, np.zeros((len(self.cells), 1), dtype=np.int64)], axis=1)
        replaced = members_to_replace(self.fitness, self._draws, protected, count, rng)
        inherited = self.fitness[layers, mutated]
        self.cells[layers, replaced] = children
        self.fitness[layers, replaced] = self._previous[layers, replaced] = inherited
        self._gradients[layers, replaced] = -inherited * _INHERITED_COUNT
        self._draws[layers, replaced] = _INHERITED_COUNT
        self.chosen = np.concatenate([staying, replaced], axis=1)
        distinct = np.mean(
            [len(np.unique(canonical_cells(cells), axis=0)) / len(cells) for cells in self.cells]
        )
        self.history.append((float(self.fitness.mean()), float(self.fitness.max()), float(distinct)))

    def best(self, layer: int) -> tuple[Cells, tuple[float, ...]]:
        """Return the K fittest distinct cells of a layer with their fitness; those that were drawn come first."""
        canonical = canonical_cells(self.cells[layer])
        members: dict[Genes, int] = {}
        for member in np.lexsort((-self.fitness[layer], self._draws[layer] == 0)):
            members.setdefault(tuple(canonical[member].tolist()), int(member))
        rows = list(members.values())[: self._settings.cells]
        return canonical[rows], tuple(float(self.fitness[layer, row]) for row in rows)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that a resumed evolution needs, by the names that checkpoints have."""
        return {
            "cells": self.cells,
            "fitness": self.fitness,
            "gathered": self._gradients,
            "seen": self._draws,
            "then": self._previous,
            "chosen": self.chosen,
            "squares": self._squares,
            "history": np.array(self.history, dtype=np.float64).reshape(-1, 3),
        }

    def load(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what `state` returned."""
        self.cells, self.fitness = state["cells"].copy(), state["fitness"].copy()
        self._gradients, self._draws = state["gathered"].copy(), state["seen"].copy()
        self._previous, self.chosen = state["then"].copy(), state["chosen"].copy()
        self._squares = state["squares"].copy()
        self.history = [(float(a), float(b), float(c)) for a, b, c in state["history"]]
