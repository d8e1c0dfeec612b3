"""Neural Search Space Evolution (Ci et al. 2021): a subset of a multi-branch space evolves round by round.

A round trains a supernet of K operations per layer (section 3.2), simplifies it by fitness indicators (3.3.1),
retrieves the Pareto front of accuracy against cost (3.3.2), and hands the operations of the front on to the next round,
together with new ones that no round has had (3.3.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet
from nascli.costmodel.feasible.axes import ROUNDING
from nascli.errors import InfeasibleError, NascliError
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.nse.retrieval import Retrieval
from nascli.search.nse.rounds import (
    EvaluatedPoint,
    Round,
    RoundSpace,
    RoundTraining,
    Subset,
    aggregate,
    front_of,
    narrow_choices,
    restricted_cost,
    simplify,
    widen_choices,
)
from nascli.search.nse.settings import NseSettings, NseStream
from nascli.search.run_folder import StateFile
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
# Returns which operations stay, from the fitness indicators and from which operations are left.
Simplify = Callable[[Sequence[Sequence[float]], Sequence[Sequence[bool]]], list[list[bool]]]


class RoundTrainer(Protocol):
    """What NSE needs of a supernet."""

    def train(self, number: int, space: Space, cost: ChainCost, keep: Simplify) -> RoundTraining:
        """Train the supernet of a round and its fitness indicators.

        Args:
            number: The number of the round, from 0.
            space: The space of the round.
            cost: The cost over that space, for the resource term.
            keep: Says after each update of the indicators which operations stay.
        """

    def accuracies(self, number: int, space: Space, population: Population) -> Array:
        """Return the `(n,)` validation accuracies of architectures in the trained supernet of a round.

        Args:
            number: The number of the round that was trained last.
            space: The space of the round.
            population: `(n, layers)` architectures of that space.
        """


class NseSearch:
    """One search; `evolve` runs it to its end and continues where a killed search stopped.

    Args:
        space: A multi-branch space.
        budget: The window in which final architectures lie. Its cost is that of the resource term too.
        settings: The hyper-parameters.
        seed: The seed of all random streams.
        state: Where the rounds are kept.
        inherited: Per layer the operations with which the first round begins, such as the last ones of a first space;
            None begins with new ones alone.
        former_front: The last front of a run in a first space, as architectures of this one. The first round evaluates
            those that keep the budgets again.
        other_bounds: Further budgets that every architecture keeps.

    Attributes:
        space: The space.
        window: The window of the cost; its lower end is `settings.window` times the upper where the budget has none.
        cost: The cost of the window.
        orders: Per layer the order in which its operations enter the rounds.

    Raises:
        NascliError: The space is single-path.
        InfeasibleError: No architecture of the space keeps the budgets.
    """

    name = "nse"

    def __init__(
        self,
        space: Space,
        budget: BoundedCost,
        settings: NseSettings,
        seed: int,
        state: StateFile,
        *,
        inherited: Subset | None = None,
        former_front: Sequence[EvaluatedPoint] = (),
        other_bounds: Sequence[BoundedCost] = (),
    ) -> None:
        if not space.multi_branch:
            raise NascliError(
                f"{space.name} is single-path: NSE takes sets of operations per layer.",
                "Choose nse-27, nse-second, nse-19 or their -mini versions.",
            )
        FeasibleSet(space, [budget, *other_bounds])
        self.space = space
        self._settings, self._seed, self._state = settings, seed, state
        self._has_own_low = budget.constraint.low == -math.inf
        low, high = settings.window_of(budget.constraint.low, budget.constraint.high)
        self.window = Constraint(budget.constraint.name, low, high, budget.constraint.device)
        self.cost = budget.cost
        self._other_bounds = tuple(other_bounds)
        self._inherited = inherited or tuple(() for _ in space.layers)
        self._former_front = tuple(point for point in former_front if self._keeps_budgets(point))
        rng = generator(seed, NseStream.CANDIDATE_ORDER)
        self.orders = [rng.permutation(len(layer.candidates)).tolist() for layer in space.layers]

    def _keeps_budgets(self, point: EvaluatedPoint) -> bool:
        """Return whether a point is within the upper end of the window and all other budgets."""
        row = np.array([point.architecture], dtype=np.int64)
        within = point.cost <= self.window.high * (1 + ROUNDING)
        return within and all(bool(bound.holds(bound.cost(row))[0]) for bound in self._other_bounds)

    @property
    def target(self) -> float:
        """The cost at which the resource term aims (tau)."""
        return self._settings.aim_of(self.window.low, self.window.high)

    @property
    def candidates(self) -> int:
        """The number of operations per layer and round (K)."""
        return self._settings.candidates_under(self.cost.name)

    def evolve(self, engine: RoundTrainer, progress: Progress) -> list[Round]:
        """Run all rounds.

        Args:
            engine: Trains supernets and evaluates with them.
            progress: Reports each round's front.

        Returns:
            The rounds; the front of the last one is the result.

        Raises:
            InfeasibleError: No architecture of a round lies in the window.
            NascliError: A layer has too few operations for one round.
        """
        rounds = [Round.from_json(document) for document in self._state.get("rounds") or []]
        while self._settings.rounds is None or len(rounds) < self._settings.rounds:
            replenished = self.replenish(rounds)
            if replenished is None:
                break
            subset, inherited = replenished
            former_front = rounds[-1].front if rounds else self._former_front
            part = self.round_space(len(rounds), subset)
            rounds.append(self._round(engine, part, inherited, former_front, progress))
            self._state.put("rounds", [each.to_json() for each in rounds])
            progress.message(self._describe(rounds))
        if not rounds:
            raise NascliError(f"{self.space.name} has layers with fewer than {self.candidates} operations.")
        return rounds

    def _describe(self, rounds: Sequence[Round]) -> str:
        last = rounds[-1]
        best = last.front[-1]
        return (
            f"round {len(rounds)}: {len(last.front)} architectures on the front, best "
            f"{best.accuracy:.3f} at {self.cost.format(best.cost)}; "
            f"{sum(map(len, last.aggregated))} operations inherited: "
            + " | ".join(" ".join(map(str, operations)) or "-" for operations in last.aggregated)
        )

    def replenish(self, rounds: Sequence[Round]) -> tuple[Subset, Subset] | None:
        """Return the operations of the next round (section 3.3.3).

        New operations come from the front of each layer's permutation, so that no round has an operation that an
        earlier one has dropped.

        Args:
            rounds: The rounds before.

        Returns:
            All operations, and those of them that are inherited; None where a layer has too few new ones, or where no
            layer needs any: another round would only repeat the last.
        """
        inherited = rounds[-1].aggregated if rounds else self._inherited
        used = [set(operations) for operations in self._inherited]
        for each in rounds:
            for layer, operations in enumerate(each.subset):
                used[layer].update(operations)
        subset: list[tuple[int, ...]] = []
        for layer, operations in enumerate(inherited):
            new = [index for index in self.orders[layer] if index not in used[layer]]
            wanted = self.candidates - len(operations)
            if wanted > len(new):
                return None
            subset.append((*operations, *new[: max(0, wanted)]))
        if rounds and all(len(now) == len(before) for now, before in zip(subset, inherited, strict=True)):
            return None
        return tuple(subset), inherited

    def round_space(self, number: int, subset: Subset) -> RoundSpace:
        """Return the part of the space that a round searches."""
        space = self.space.restricted(f"{self.space.name}-round{number + 1}", subset)
        return RoundSpace(number, subset, space, restricted_cost(self.cost, subset))

    def _round(
        self,
        engine: RoundTrainer,
        part: RoundSpace,
        inherited: Subset,
        former_front: Sequence[EvaluatedPoint],
        progress: Progress,
    ) -> Round:
        """Train, simplify, retrieve, and aggregate."""
        locked = [
            [self._settings.lock and index in before for index in now]
            for now, before in zip(part.subset, inherited, strict=True)
        ]

        def keep(thetas: Sequence[Sequence[float]], alive: Sequence[Sequence[bool]]) -> list[list[bool]]:
            return simplify(part.space.layers, thetas, alive, locked, self._settings.threshold)

        trained = engine.train(part.number, part.space, part.cost, keep)
        rehearsed = former_front if self._settings.rehearse else ()
        evaluated = self.retrieve(engine, part, trained, rehearsed, progress)
        front = self._front_in_window(evaluated, part.number)
        aggregated = aggregate(front, len(part.space.layers))
        return Round(part.subset, inherited, trained, tuple(evaluated), tuple(front), aggregated)

    def _front_in_window(self, evaluated: Sequence[EvaluatedPoint], number: int) -> list[EvaluatedPoint]:
        """Return the part of the front that lies in the window."""
        front = [point for point in front_of(evaluated) if point.cost >= self.window.low]
        if not front:
            # Points below the window dominate all that lie in it; then those in it have a front of their own.
            front = front_of([point for point in evaluated if point.cost >= self.window.low])
        if not front and self._has_own_low:
            front = front_of(evaluated)
        if not front:
            raise InfeasibleError(
                f"no architecture of round {number + 1} lies within {self.window}.", "Widen the window."
            )
        return front

    def retrieve(
        self,
        engine: RoundTrainer,
        part: RoundSpace,
        trained: RoundTraining,
        former_front: Sequence[EvaluatedPoint],
        progress: Progress,
    ) -> list[EvaluatedPoint]:
        """Evaluate architectures that are drawn by fitness, and the former front once more (section 3.3.2).

        Args:
            engine: Evaluates with the trained supernet of the round.
            part: The space of the round.
            trained: Its fitness indicators, and which operations are left.
            former_front: The front of the round before.
            progress: Reports empty windows.

        Raises:
            InfeasibleError: No architecture of the round lies in the window.
        """
        rng = generator(self._seed, NseStream.RETRIEVAL, part.number)
        retrieval = Retrieval(self.window, self._has_own_low, self._other_bounds, self._settings, progress)
        narrow = retrieval.draw(part, trained, rng)
        wide = widen_choices(narrow, part.subset)
        drawn = {tuple(map(int, row)) for row in wide}
        rehearsed = [point.architecture for point in former_front if point.architecture not in drawn]
        if rehearsed:
            rows = np.array(rehearsed, dtype=np.int64)
            narrow = np.concatenate([narrow, narrow_choices(rows, part.subset)])
            wide = np.concatenate([wide, rows])
        accuracies = engine.accuracies(part.number, part.space, narrow)
        return [
            EvaluatedPoint(tuple(map(int, row)), float(cost), float(accuracy), index >= len(drawn))
            for index, (row, cost, accuracy) in enumerate(
                zip(wide, part.cost(narrow), accuracies, strict=True)
            )
        ]
