"""The records of a round of NSE, and the steps between its training and the next round, each on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost
from nascli.search.base import Choices
from nascli.spaces.blocks import Layer
from nascli.spaces.space import Population, Space

# Per layer the operations that are taken from it, by their numbers in the whole space.
Subset = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class RoundTraining:
    """What the training of a round leaves.

    Attributes:
        thetas: The fitness indicators at the end, per layer and operation of the round.
        alive: Which operations simplification left, per layer and operation of the round.
        trajectory: The fitness indicators after each epoch, per epoch, layer, and operation.
    """

    thetas: tuple[tuple[float, ...], ...]
    alive: tuple[tuple[bool, ...], ...]
    trajectory: tuple[tuple[tuple[float, ...], ...], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {"thetas": self.thetas, "alive": self.alive, "trajectory": self.trajectory}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RoundTraining:
        """Read a document that `to_json` wrote; the first ones had no trajectory."""
        return cls(
            _float_rows(document["thetas"]),
            tuple(tuple(bool(alive) for alive in row) for row in document["alive"]),
            tuple(_float_rows(epoch) for epoch in document.get("trajectory", [])),
        )


@dataclass(frozen=True)
class EvaluatedPoint:
    """An evaluated architecture.

    Attributes:
        architecture: The choice of each layer, as bit sets over the operations of the whole space.
        cost: Its cost.
        accuracy: Its validation accuracy in the supernet of the round.
        rehearsed: Whether it was on the front of the round before.
    """

    architecture: Choices
    cost: float
    accuracy: float
    rehearsed: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "codes": self.architecture,
            "cost": self.cost,
            "accuracy": self.accuracy,
            "rehearsed": self.rehearsed,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EvaluatedPoint:
        """Read a document that `to_json` wrote."""
        return cls(
            tuple(int(choice) for choice in document["codes"]),
            float(document["cost"]),
            float(document["accuracy"]),
            bool(document["rehearsed"]),
        )


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        subset: The operations with which it began.
        inherited: Those of them that came from the round before.
        trained: Its fitness indicators, and what simplification left.
        evaluated: Every architecture that was evaluated.
        front: Their Pareto front inside the window, cheapest first.
        aggregated: The operations of the front, which the next round inherits.
    """

    subset: Subset
    inherited: Subset
    trained: RoundTraining
    evaluated: tuple[EvaluatedPoint, ...]
    front: tuple[EvaluatedPoint, ...]
    aggregated: Subset

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "subset": self.subset,
            "inherited": self.inherited,
            "trained": self.trained.to_json(),
            "evaluated": [point.to_json() for point in self.evaluated],
            "front": [point.to_json() for point in self.front],
            "aggregated": self.aggregated,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Round:
        """Read a document that `to_json` wrote."""
        return cls(
            _subset(document["subset"]),
            _subset(document["inherited"]),
            RoundTraining.from_json(document["trained"]),
            tuple(EvaluatedPoint.from_json(point) for point in document["evaluated"]),
            tuple(EvaluatedPoint.from_json(point) for point in document["front"]),
            _subset(document["aggregated"]),
        )


@dataclass(frozen=True)
class RoundSpace:
    """The part of the whole space that a round searches.

    Attributes:
        number: The number of the round, from 0.
        subset: Its operations.
        space: The space of these operations alone.
        cost: The cost over that space.
    """

    number: int
    subset: Subset
    space: Space
    cost: ChainCost


def simplify(
    layers: Sequence[Layer],
    thetas: Sequence[Sequence[float]],
    alive: Sequence[Sequence[bool]],
    locked: Sequence[Sequence[bool]],
    threshold: float,
) -> list[list[bool]]:
    """Return which operations stay after an update of the fitness indicators (section 3.3.1).

    An operation whose indicator is below the threshold is dropped, unless it is locked. A reduction layer, which may
    not be empty, keeps its fittest operation.

    Args:
        layers: The layers of the round's space.
        thetas: The indicators, per layer and operation.
        alive: Which operations were left before.
        locked: Which operations are never dropped.
        threshold: The lowest indicator with which an operation stays.
    """
    left = []
    for layer, theta, old, lock in zip(layers, thetas, alive, locked, strict=True):
        stays = [
            bool(was_alive and (value >= threshold or is_locked))
            for value, was_alive, is_locked in zip(theta, old, lock, strict=True)
        ]
        if layer.join == "reduction" and not any(stays):
            fittest = max((i for i, was_alive in enumerate(old) if was_alive), key=lambda i: theta[i])
            stays[fittest] = True
        left.append(stays)
    return left


def front_of(points: Sequence[EvaluatedPoint]) -> list[EvaluatedPoint]:
    """Return the Pareto front, cheapest first.

    A point is on it if it is more accurate than everything that costs less or as much. Of equal points, one that was
    not rehearsed is.
    """
    ordered = sorted(points, key=lambda point: (point.cost, -point.accuracy, point.rehearsed))
    front: list[EvaluatedPoint] = []
    for point in ordered:
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def aggregate(points: Sequence[EvaluatedPoint], layers: int) -> Subset:
    """Return the operations that some architectures have, per layer (section 3.3.2)."""
    unions = [0] * layers
    for point in points:
        unions = [union | choice for union, choice in zip(unions, point.architecture, strict=True)]
    return tuple(tuple(i for i in range(union.bit_length()) if union >> i & 1) for union in unions)


def restricted_cost(cost: ChainCost, subset: Sequence[Sequence[int]]) -> ChainCost:
    """Return a multi-branch cost over a subset of each layer's operations."""
    unary = tuple(values[list(operations)] for values, operations in zip(cost.unary, subset, strict=True))
    return replace(cost, unary=unary)


def widen_choices(population: Population, subset: Sequence[Sequence[int]]) -> Population:
    """Turn `(n, layers)` bit sets over a subset into bit sets over the whole space."""
    wide = np.zeros(population.shape, dtype=np.int64)
    for layer, operations in enumerate(subset):
        for position, index in enumerate(operations):
            wide[:, layer] |= (population[:, layer].astype(np.int64) >> position & 1) << index
    return wide


def narrow_choices(population: Population, subset: Sequence[Sequence[int]]) -> Population:
    """Turn `(n, layers)` bit sets over the whole space into bit sets over a subset that has all their operations."""
    narrow = np.zeros(population.shape, dtype=np.int64)
    for layer, operations in enumerate(subset):
        for position, index in enumerate(operations):
            narrow[:, layer] |= (population[:, layer].astype(np.int64) >> index & 1) << position
    return narrow


def _float_rows(rows: Sequence[Sequence[Any]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in rows)


def _subset(rows: Sequence[Sequence[Any]]) -> Subset:
    return tuple(tuple(int(index) for index in row) for row in rows)
