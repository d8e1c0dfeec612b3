"""Architectures that a round of NSE evaluates: drawn by the fitness of their operations, within a window of a cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet
from nascli.costmodel.feasible import BranchWeights
from nascli.errors import ConstraintError, InfeasibleError
from nascli.progress import Progress
from nascli.search.base import Choices
from nascli.search.nse.rounds import RoundSpace, RoundTraining, restricted_cost
from nascli.search.nse.settings import NseSettings
from nascli.spaces.space import Population

# A window may hold fewer architectures than are wanted. Drawing ends after so many attempts, or when an attempt adds
# less than one in a hundred of them.
_ATTEMPTS = 20


class Retrieval:
    """Draws the architectures that a round evaluates (section 3.3.2).

    Args:
        window: The window of the cost in which final architectures lie.
        may_go_below: Whether the lower end of the window is the search's own and may give way.
        other_bounds: Further budgets that every architecture keeps; their costs are of the whole space.
        settings: How many architectures are drawn.
        progress: Reports empty windows.
    """

    def __init__(
        self,
        window: Constraint,
        may_go_below: bool,
        other_bounds: Sequence[BoundedCost],
        settings: NseSettings,
        progress: Progress,
    ) -> None:
        self._window, self._may_go_below = window, may_go_below
        self._other_bounds, self._settings, self._progress = other_bounds, settings, progress

    def draw(self, part: RoundSpace, trained: RoundTraining, rng: np.random.Generator) -> Population:
        """Draw distinct architectures inside the window, and some just below it.

        Those below compete with the cheapest ones inside, which otherwise would be on the front for want of cheaper
        ones (the edging effect). If simplification left nothing inside the window, it is undone; if there is still
        nothing, and the budget has no lower end, the window loses its own.

        Args:
            part: The space of the round.
            trained: The fitness indicators, and which operations are left.
            rng: The source of randomness.

        Returns:
            `(n, layers)` bit sets over the round's operations, sorted.

        Raises:
            InfeasibleError: Nothing lies within the window.
        """
        settings, window = self._settings, self._window
        below = replace(window, low=window.low * settings.window, high=window.low)
        inside = self._draw_within(part, window, trained, settings.samples, rng)
        drawn_below = self._draw_within(part, below, trained, settings.beyond, rng)
        if not len(inside):
            self._tell(part, f"what simplification left has nothing within {window}; it is undone")
            everything = replace(trained, alive=tuple(tuple(True for _ in row) for row in trained.alive))
            inside = self._draw_within(part, window, everything, settings.samples, rng)
        if self._may_go_below and not len(inside):
            self._tell(part, f"nothing lies within {window}; its lower end gives way")
            inside = self._draw_within(part, replace(window, low=-math.inf), trained, settings.samples, rng)
        if not len(inside):
            raise InfeasibleError(
                f"no architecture of round {part.number + 1} lies within {window}.", "Widen the window."
            )
        return np.unique(np.concatenate([inside, drawn_below]), axis=0)

    def _tell(self, part: RoundSpace, text: str) -> None:
        self._progress.message(f"round {part.number + 1}: {text}")

    def _draw_within(
        self,
        part: RoundSpace,
        window: Constraint,
        trained: RoundTraining,
        count: int,
        rng: np.random.Generator,
    ) -> Population:
        """Draw at most `count` distinct architectures within a window; no rows where there are none.

        Each branch is taken with the probability of its fitness indicator, and a dropped one is never taken.
        """
        drawn: dict[Choices, None] = {}
        if count:
            weights = [
                _branch_weights(theta, alive)
                for theta, alive in zip(trained.thetas, trained.alive, strict=True)
            ]
            others = [
                BoundedCost(bound.constraint, restricted_cost(bound.cost, part.subset))
                for bound in self._other_bounds
            ]
            try:
                feasible = FeasibleSet(part.space, [BoundedCost(window, part.cost), *others])
                drawn = _draw_distinct(feasible, weights, count, rng)
            except (InfeasibleError, ConstraintError):
                # There is nothing, or so little that the grid of the feasible set cannot resolve it.
                drawn = {}
        return np.array(list(drawn), dtype=part.space.dtype).reshape(len(drawn), len(part.space.layers))


def _branch_weights(theta: Sequence[float], alive: Sequence[bool]) -> BranchWeights:
    """Return the weights with which the branches of a layer are taken, and not taken."""
    p = 1 / (1 + np.exp(-np.array(theta)))
    return BranchWeights(np.where(alive, p, 0.0), np.where(alive, 1 - p, 1.0))


def _draw_distinct(
    feasible: FeasibleSet, weights: Sequence[BranchWeights], count: int, rng: np.random.Generator
) -> dict[Choices, None]:
    """Draw until there are `count` distinct architectures, or drawing on would add few."""
    drawn: dict[Choices, None] = {}
    for _ in range(_ATTEMPTS):
        before = len(drawn)
        for row in feasible.weighted(weights, count, rng):
            if len(drawn) < count:
                drawn.setdefault(tuple(int(choice) for choice in row))
        if len(drawn) == count or len(drawn) - before < max(1, count // 100):
            break
    return drawn
