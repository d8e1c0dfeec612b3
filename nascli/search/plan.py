"""What an algorithm says about a search before it runs: what it would train, and which figures follow from settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nascli.costmodel import Constraint
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace


@dataclass(frozen=True)
class PlanRequest:
    """What a search is planned for.

    Attributes:
        space: The space, before an algorithm learns one from it.
        constraints: The budgets, parsed; there may be none.
        continues: Whether the search goes on from a finished run.
    """

    space: Space | StagedSpace
    constraints: tuple[Constraint, ...] = ()
    continues: bool = False


@dataclass(frozen=True)
class TrainingPhase:
    """Something that a search trains.

    Attributes:
        title: What is trained.
        group: The field of the preset that has its recipe: 'supernet', 'space_recipe', or 'retraining'.
        epochs: The number of epochs of one training.
        trainings: How many such trainings there are, at most.
        on: The images: 'train' for the training part, or 'all' for the training and validation parts together.
    """

    title: str
    group: str
    epochs: int
    trainings: int = 1
    on: str = "train"


def aimed_constraint(constraints: Sequence[Constraint]) -> Constraint | None:
    """Return the constraint at which a resource term aims: that on latency, or the first one; None without any."""
    latency = [each for each in constraints if each.name == "latency"]
    return next(iter([*latency, *constraints]), None)
