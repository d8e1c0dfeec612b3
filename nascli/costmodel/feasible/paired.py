"""Layers with boundary terms: what a candidate costs depends on the one before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.costmodel.feasible.layers import Arithmetic, Array, Left, Scores, Steps, Table, moved, pick


@dataclass(frozen=True)
class Paired:
    """A single-path layer whose tables have a leading axis: the candidate of the layer before.

    Attributes:
        steps: `(before, candidates, axes)` cells that each pair spends.
    """

    steps: Steps

    def backward(self, after: Table, arithmetic: Arithmetic, weights: Array) -> Table:
        """The tables before this layer, one per candidate of the layer before."""
        count, candidates, axes = self.steps.shape
        shape = after.shape[after.ndim - axes :]
        here = arithmetic.zeros((count, *shape))
        for before in range(count):
            for code in range(candidates):
                weight = float(weights[code])
                if weight == 0 and not isinstance(arithmetic, Scores):
                    continue
                source = after[code] if after.ndim > axes else after
                moved(source, self.steps[before, code], arithmetic, here[before], weight)
        return here

    def forward(
        self,
        after: Table,
        weights: Array,
        left: Left,
        before: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], Left]:
        """Draw a candidate for each sample, given the candidates before."""
        _, candidates, axes = self.steps.shape
        masses = np.zeros((candidates, len(left)))
        for code in range(candidates):
            rest = left - self.steps[before, code]
            inside = np.all(rest >= 0, axis=1)
            source = after[code] if after.ndim > axes else after
            index = tuple(np.where(inside, rest[:, axis], 0) for axis in range(axes))
            masses[code] = np.where(inside, source[index], 0.0) * weights[code]
        chosen = pick(masses, rng).astype(np.int64)
        return chosen, left - self.steps[before, chosen]

    def choices(
        self, after: Table, scores: Array, state: Left, before: int
    ) -> list[tuple[int, float, float, Left]]:
        """Every candidate with its score, the best score after it, and what is left then."""
        axes = self.steps.shape[2]
        found = []
        for code, score in enumerate(scores):
            left = state - self.steps[before, code]
            if np.all(left >= 0):
                source = after[code] if after.ndim > axes else after
                found.append((code, float(score), float(source[tuple(left)]), left))
        return found
