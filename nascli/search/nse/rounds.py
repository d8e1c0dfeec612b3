"""What a round of NSE is: its records, and the steps between training and the next round, each on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost
from nascli.spaces.blocks import Layer
from nascli.spaces.space import Population

Subset = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class RoundTraining:
    """What a round's training found: per layer the indicators, and which operations are left.

    Attributes:
        thetas: the indicators at the end.
        alive: which operations are left.
        trajectory: the indicators after each epoch: epoch, layer, operation.
    """

    thetas: tuple[tuple[float, ...], ...]
    alive: tuple[tuple[bool, ...], ...]
    trajectory: tuple[tuple[tuple[float, ...], ...], ...] = ()


@dataclass(frozen=True)
class EvaluatedPoint:
    """An evaluated architecture: bit sets over the whole space, its cost, and its accuracy."""

    codes: tuple[int, ...]
    cost: float
    accuracy: float
    rehearsed: bool = False


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        subset: per layer the operations (indices into the whole space) that it began with.
        inherited: per layer those that came from the round before.
        trained: indicators and what is left.
        evaluated: every architecture that was evaluated.
        front: its Pareto front inside the window, cheapest first.
        aggregated: per layer the operations of the front, which the next round inherits.
    """

    subset: Subset
    inherited: Subset
    trained: RoundTraining
    evaluated: tuple[EvaluatedPoint, ...]
    front: tuple[EvaluatedPoint, ...]
    aggregated: Subset


def simplify(
    layers: Sequence[Layer],
    thetas: Sequence[Sequence[float]],
    alive: Sequence[Sequence[bool]],
    locked: Sequence[Sequence[bool]],
    threshold: float,
) -> list[list[bool]]:
    """Which operations stay (section 3.3.1).

    Those below the threshold go, unless they are inherited and locked. A reduction layer keeps its best one.
    """
    kept = []
    for layer, theta, old, lock in zip(layers, thetas, alive, locked, strict=True):
        stays = [
            bool(was and (value >= threshold or held))
            for value, was, held in zip(theta, old, lock, strict=True)
        ]
        if layer.join == "reduction" and not any(stays):
            best = max((i for i, was in enumerate(old) if was), key=lambda i: theta[i])
            stays[best] = True
        kept.append(stays)
    return kept


def front_of(points: Sequence[EvaluatedPoint]) -> list[EvaluatedPoint]:
    """The Pareto front: more accurate than everything cheaper or as cheap; a tie goes to what is new."""
    ordered = sorted(points, key=lambda p: (p.cost, -p.accuracy, p.rehearsed))
    front: list[EvaluatedPoint] = []
    for point in ordered:
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def aggregate(points: Sequence[EvaluatedPoint], layers: int) -> Subset:
    """Per layer the union of the operations of some architectures."""
    unions = [0] * layers
    for point in points:
        unions = [union | code for union, code in zip(unions, point.codes, strict=True)]
    return tuple(tuple(i for i in range(union.bit_length()) if union >> i & 1) for union in unions)


def restricted_cost(cost: ChainCost, kept: Sequence[Sequence[int]]) -> ChainCost:
    """A multi-branch cost over a subset of each layer's operations."""
    unary = tuple(values[list(chosen)] for values, chosen in zip(cost.unary, kept, strict=True))
    return replace(cost, unary=unary)


def widen_choices(codes: Population, kept: Sequence[Sequence[int]]) -> Population:
    """Bit sets over a subset as bit sets over the whole space."""
    wide = np.zeros(codes.shape, dtype=np.int64)
    for layer, chosen in enumerate(kept):
        for position, index in enumerate(chosen):
            wide[:, layer] |= (codes[:, layer].astype(np.int64) >> position & 1) << index
    return wide


def narrow_choices(codes: Population, kept: Sequence[Sequence[int]]) -> Population:
    """Bit sets over the whole space as bit sets over a subset that holds all of them."""
    narrow = np.zeros(codes.shape, dtype=np.int64)
    for layer, chosen in enumerate(kept):
        for position, index in enumerate(chosen):
            narrow[:, layer] |= (codes[:, layer].astype(np.int64) >> index & 1) << position
    return narrow


def round_from_json(document: dict[str, Any]) -> Round:
    """A round back from its document."""

    def subset(rows: list[list[int]]) -> Subset:
        return tuple(tuple(int(i) for i in row) for row in rows)

    def points(rows: list[dict[str, Any]]) -> tuple[EvaluatedPoint, ...]:
        return tuple(
            EvaluatedPoint(
                tuple(int(c) for c in r["codes"]),
                float(r["cost"]),
                float(r["accuracy"]),
                bool(r["rehearsed"]),
            )
            for r in rows
        )

    trained = document["trained"]
    return Round(
        subset(document["subset"]),
        subset(document["inherited"]),
        RoundTraining(
            tuple(tuple(float(v) for v in row) for row in trained["thetas"]),
            tuple(tuple(bool(v) for v in row) for row in trained["alive"]),
            tuple(
                tuple(tuple(float(v) for v in row) for row in moment)
                for moment in trained.get("trajectory", [])
            ),
        ),
        points(document["evaluated"]),
        points(document["front"]),
        subset(document["aggregated"]),
    )
