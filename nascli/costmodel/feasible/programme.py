"""The dynamic programme of a feasible set on one grid: tables of completions, and draws along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nascli.costmodel.feasible.axes import BudgetAxis
from nascli.costmodel.feasible.layers import (
    Arithmetic,
    BranchWeights,
    Layer,
    MultiBranchLayer,
    PairedLayer,
    SinglePathLayer,
    Table,
)
from nascli.errors import InfeasibleError
from nascli.spaces.space import Population, Space

ChoiceWeights = npt.NDArray[np.float64] | BranchWeights


class DynamicProgramme:
    """The layers of a space with the integer steps of budgets.

    Args:
        space: Single-path or multi-branch space.
        axes: The budgets that bind. Without any, tables have one state.

    Attributes:
        shape: Shape of the tables.
        start: State before the first layer.
        layers: The layers with their steps.
    """

    def __init__(self, space: Space, axes: Sequence[BudgetAxis]) -> None:
        self.space, self.axes = space, list(axes)
        self.shape = tuple(axis.size for axis in axes) or (1,)
        self.start = tuple(size - 1 for size in self.shape)
        self.layers = _layers(space, axes)

    def backward(
        self, arithmetic: Arithmetic, weights: Sequence[ChoiceWeights], *, spent_whole: bool = False
    ) -> list[Table]:
        """Return the tables of completions before each layer and after the last.

        Args:
            arithmetic: Arithmetic of the tables.
            weights: For each layer, the weights of its choices.
            spent_whole: Whether only completions count that spend all cells of every budget, instead of those that the
                lower bounds allow.

        Returns:
            One table more than layers.
        """
        end = arithmetic.zeros(self.shape)
        inside = np.ones(self.shape, dtype=bool)
        for number, axis in enumerate(self.axes):
            index = np.arange(axis.size).reshape([-1 if i == number else 1 for i in range(len(self.axes))])
            inside &= index <= (0 if spent_whole else axis.max_leftover)
        end[inside] = arithmetic.unit
        tables = [end]
        for layer, layer_weights in zip(reversed(self.layers), reversed(list(weights)), strict=True):
            tables.append(layer.backward(tables[-1], arithmetic, layer_weights))  # type: ignore[arg-type]
        tables.reverse()
        return tables

    def draw(
        self,
        weights: Sequence[ChoiceWeights],
        tables: list[Table],
        n: int,
        rng: np.random.Generator,
        prefix: Sequence[int],
    ) -> Population:
        """Draw architectures of the grid with probability proportional to their weights.

        Args:
            weights: For each layer, the weights of its choices.
            tables: Tables of `backward` with these weights.
            n: Number of architectures.
            rng: Random generator.
            prefix: Choices of the first layers.

        Returns:
            `(n, layers)` architectures.

        Raises:
            InfeasibleError: No architecture of positive weight begins with the prefix.
        """
        start = self.after(prefix)
        if start is None or not self.entry(tables, prefix, start) > 0:
            raise InfeasibleError(
                f"nothing feasible begins with {list(prefix)}." if prefix else "no weight is feasible."
            )
        population = np.empty((n, len(self.layers)), dtype=self.space.dtype)
        population[:, : len(prefix)] = np.asarray(prefix, dtype=self.space.dtype)
        left = np.tile(start, (n, 1))
        before = np.zeros(n, dtype=np.int64)
        if prefix:
            before = population[:, len(prefix) - 1].astype(np.int64)
        for number in range(len(prefix), len(self.layers)):
            layer, layer_weights, after = self.layers[number], weights[number], tables[number + 1]
            if isinstance(layer, PairedLayer):
                choices, left = layer.forward(after, layer_weights, left, before, rng)  # type: ignore[arg-type]
                before = choices
            else:
                choices, left = layer.forward(after, layer_weights, left, rng)  # type: ignore[arg-type]
            population[:, number] = choices
        return population

    def after(self, prefix: Sequence[int]) -> npt.NDArray[np.int64] | None:
        """Return the `(axes,)` state after a prefix, or None if it overspends a budget."""
        left = np.array(self.start, dtype=np.int64)
        before = 0
        for layer, choice in zip(self.layers, prefix, strict=False):
            if isinstance(layer, MultiBranchLayer):
                step = layer.step_of(int(choice))
            elif isinstance(layer, PairedLayer):
                step = layer.steps[before, int(choice)]
            else:
                step = layer.steps[int(choice)]
            before = int(choice)
            left = left - step
        return left if np.all(left >= 0) else None

    def entry(self, tables: list[Table], prefix: Sequence[int], left: npt.NDArray[np.int64]) -> float:
        """Return the weight of all completions of a prefix, which leaves the state `left`."""
        table = tables[len(prefix)]
        if table.ndim > len(self.shape):
            table = table[int(prefix[-1]) if prefix else 0]
        return table[tuple(left)]  # type: ignore[no-any-return]


def _layers(space: Space, axes: Sequence[BudgetAxis]) -> list[Layer | PairedLayer]:
    if any(axis.budget.cost.pairwise is not None for axis in axes):
        return [_paired(space, axes, number) for number in range(len(space.layers))]
    layers: list[Layer | PairedLayer] = []
    for number, layer in enumerate(space.layers):
        if axes:
            steps = np.stack([axis.steps[number] for axis in axes], axis=1)
        else:
            steps = np.zeros((len(layer.candidates), 1), dtype=np.int64)
        if layer.join == "single":
            layers.append(SinglePathLayer(steps))
            continue
        allowed = tuple(range(layer.min_branches, min(layer.max_branches, len(layer.candidates)) + 1))
        joins = np.zeros((layer.max_branches + 1, steps.shape[1]), dtype=np.int64)
        for column, axis in enumerate(axes):
            assert axis.join_steps is not None
            joins[:, column] = axis.join_steps[number]
            allowed = tuple(k for k in allowed if joins[k, column] >= 0)
        layers.append(MultiBranchLayer(steps, np.maximum(joins, 0), allowed))
    return layers


def _paired(space: Space, axes: Sequence[BudgetAxis], number: int) -> PairedLayer:
    before = 1 if number == 0 else len(space.layers[number - 1].candidates)
    here = len(space.layers[number].candidates)
    columns = [np.broadcast_to(np.atleast_2d(axis.steps[number]), (before, here)) for axis in axes]
    return PairedLayer(np.stack(columns, axis=2))
