"""NSE (Ci et al. 2021): evolving a subset of a multi-branch search space, round by round.

A round trains a supernet of K candidates per layer, simplifies it by fitness indicators, retrieves the Pareto front
of accuracy against cost, and hands its operations on to the next round together with new ones that were never seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet
from nascli.costmodel.feasible import BranchWeights
from nascli.costmodel.feasible.axes import ROUNDING
from nascli.errors import ConstraintError, InfeasibleError, NascliError
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.nse.rounds import (
    EvaluatedPoint,
    Round,
    RoundTraining,
    Subset,
    aggregate,
    front_of,
    narrow_choices,
    restricted_cost,
    round_from_json,
    simplify,
    widen_choices,
)
from nascli.search.nse.settings import NseSettings, NseStream
from nascli.search.run_folder import StateFile
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
Simplify = Callable[[Sequence[Sequence[float]], Sequence[Sequence[bool]]], list[list[bool]]]


class RoundTrainer(Protocol):
    """What NSE needs of a supernet."""

    def train(self, number: int, space: Space, cost: ChainCost, keep: Simplify) -> RoundTraining:
        """Train a round's supernet and its indicators; after each update `keep` says which operations stay."""

    def accuracies(self, number: int, space: Space, codes: Population) -> Array:
        """`(n,)` validation accuracy of each architecture in the round's trained supernet."""


class NseSearch:
    """One search; `evolve` runs it to its end, going on where a killed one stopped.

    Args:
        space: multi-branch.
        budget: the window that final architectures lie in; its cost is the resource term too.
        settings: the hyper-parameters.
        seed: of all randomness.
        state: where rounds are kept.
        inherited: operations per layer that the first round begins with, such as a former space's final
            subset, as indices into this space.
        former: a former space's last front, in this space's codes; what of it keeps these budgets the first
            round rehearses.
        others: further budgets that every retrieved architecture satisfies.
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
        former: Sequence[EvaluatedPoint] = (),
        others: Sequence[BoundedCost] = (),
    ) -> None:
        if not space.multi_branch:
            raise NascliError(
                f"{space.name} is single-path: NSE takes sets of operations per layer.",
                "Choose nse-27, nse-second, nse-19 or their -mini versions.",
            )
        FeasibleSet(space, [budget, *others])
        self.space = space
        self._settings, self._seed, self._state = settings, seed, state
        low, high = budget.constraint.low, budget.constraint.high
        # Where the user bounds from above alone, the window's lower end is ours, and gives way to what there is.
        self._open = low == -math.inf
        if self._open:
            low = settings.window * high
        self.window = Constraint(budget.constraint.name, low, high, budget.constraint.device)
        self.cost = budget.cost
        self._others = tuple(others)
        self._inherited = inherited or tuple(() for _ in space.layers)
        self._former = tuple(point for point in former if self._kept(point))
        rng = generator(seed, NseStream.CANDIDATE_ORDER)
        self.orders = [rng.permutation(len(layer.candidates)).tolist() for layer in space.layers]

    def _kept(self, point: EvaluatedPoint) -> bool:
        """Whether a former architecture is within the upper bound and the other budgets."""
        code = np.array([point.codes], dtype=np.int64)
        within = point.cost <= self.window.high * (1 + ROUNDING)
        return within and all(bool(b.holds(b.cost(code))[0]) for b in self._others)

    @property
    def target(self) -> float:
        """What the resource term aims at (tau), in the cost's unit."""
        return self.window.low + self._settings.aim * (self.window.high - self.window.low)

    @property
    def candidates(self) -> int:
        """Operations per layer and round (K)."""
        return self._settings.candidates or (6 if self.cost.name == "latency" else 5)

    def evolve(self, engine: RoundTrainer, progress: Progress) -> list[Round]:
        """All rounds; the last one's front is the result.

        Raises:
            InfeasibleError: no architecture of a round's subset lies in the window.
        """
        rounds = [round_from_json(d) for d in self._state.get("rounds") or []]
        while self._settings.rounds is None or len(rounds) < self._settings.rounds:
            following = self.replenish(rounds)
            if following is None:
                break
            subset, inherited = following
            number = len(rounds)
            rounds.append(self._round(engine, number, subset, inherited, rounds, progress))
            self._state.put("rounds", [asdict(r) for r in rounds])
            best = rounds[-1].front[-1]
            progress.message(
                f"round {number + 1}: {len(rounds[-1].front)} architectures on the front, best "
                f"{best.accuracy:.3f} at {self.cost.format(best.cost)}; "
                f"{sum(map(len, rounds[-1].aggregated))} operations inherited: "
                + " | ".join(" ".join(map(str, kept)) or "-" for kept in rounds[-1].aggregated)
            )
        if not rounds:
            raise NascliError(f"{self.space.name} has layers with fewer than {self.candidates} operations.")
        return rounds

    def replenish(self, rounds: Sequence[Round]) -> tuple[Subset, Subset] | None:
        """The next round's operations and which of them are inherited; None when a layer runs out.

        New ones come from the front of each layer's permutation, so that nothing is traversed twice.
        """
        inherited = rounds[-1].aggregated if rounds else self._inherited
        taken = [set(held) for held in self._inherited]
        for done in rounds:
            for layer, seen in enumerate(done.subset):
                taken[layer].update(seen)
        subset: list[tuple[int, ...]] = []
        for layer, held in enumerate(inherited):
            fresh = [i for i in self.orders[layer] if i not in taken[layer]]
            wanted = self.candidates - len(held)
            if wanted > len(fresh):
                return None
            subset.append((*held, *fresh[: max(0, wanted)]))
        if rounds and all(len(now) == len(held) for now, held in zip(subset, inherited, strict=True)):
            # Nothing new in any layer: another round would only repeat the last.
            return None
        return tuple(subset), inherited

    def _round(
        self,
        engine: RoundTrainer,
        number: int,
        subset: Subset,
        inherited: Subset,
        rounds: Sequence[Round],
        progress: Progress,
    ) -> Round:
        space = self.space.restricted(f"{self.space.name}-round{number + 1}", subset)
        cost = restricted_cost(self.cost, subset)
        locked = [
            [self._settings.lock and i in held for i in chosen]
            for chosen, held in zip(subset, inherited, strict=True)
        ]

        def keep(thetas: Sequence[Sequence[float]], alive: Sequence[Sequence[bool]]) -> list[list[bool]]:
            return simplify(space.layers, thetas, alive, locked, self._settings.threshold)

        trained = engine.train(number, space, cost, keep)
        former = (rounds[-1].front if rounds else self._former) if self._settings.rehearse else ()
        evaluated = self.retrieve(engine, number, space, subset, trained, former, progress)
        front = [p for p in front_of(evaluated) if p.cost >= self.window.low]
        if not front:
            # Everything in the window is dominated from below it: then its own front is what there is.
            front = front_of([p for p in evaluated if p.cost >= self.window.low])
        if not front and self._open:
            front = front_of(evaluated)
        if not front:
            raise InfeasibleError(
                f"no architecture of round {number + 1} lies within {self.window}.", "Widen the window."
            )
        return Round(
            subset, inherited, trained, tuple(evaluated), tuple(front), aggregate(front, len(space.layers))
        )

    def retrieve(
        self,
        engine: RoundTrainer,
        number: int,
        space: Space,
        subset: Subset,
        trained: RoundTraining,
        former: Sequence[EvaluatedPoint],
        progress: Progress,
    ) -> list[EvaluatedPoint]:
        """Architectures drawn by fitness in the window and just below it, and the former front, evaluated."""
        rng = generator(self._seed, NseStream.RETRIEVAL, number)
        cost = restricted_cost(self.cost, subset)
        below = Constraint(
            self.window.name, self.window.low * self._settings.window, self.window.low, self.window.device
        )
        drawn = []
        for window, wanted in ((self.window, self._settings.samples), (below, self._settings.beyond)):
            drawn.append(self._draw(space, cost, subset, window, trained, wanted, rng))
        if not len(drawn[0]):
            # Simplification may have left too little for the window: it gives way, not the budget.
            progress.message(
                f"round {number + 1}: what simplification left has nothing within {self.window}; it is undone"
            )
            whole = replace(trained, alive=tuple(tuple(True for _ in row) for row in trained.alive))
            drawn[0] = self._draw(space, cost, subset, self.window, whole, self._settings.samples, rng)
        if self._open and not len(drawn[0]):
            anything = replace(self.window, low=-math.inf)
            progress.message(
                f"round {number + 1}: nothing lies within {self.window}; its lower end gives way"
            )
            drawn[0] = self._draw(space, cost, subset, anything, trained, self._settings.samples, rng)
        codes = np.unique(np.concatenate(drawn), axis=0)
        if not len(drawn[0]):
            raise InfeasibleError(
                f"no architecture of round {number + 1} lies within {self.window}.", "Widen the window."
            )
        wide = widen_choices(codes, subset)
        again = [p for p in former if p.codes not in {tuple(map(int, row)) for row in wide}]
        if again:
            old = narrow_choices(np.array([p.codes for p in again], dtype=np.int64), subset)
            codes, wide = np.concatenate([codes, old]), np.concatenate([wide, [p.codes for p in again]])
        accuracies = engine.accuracies(number, space, codes)
        costs = cost(codes)
        return [
            EvaluatedPoint(tuple(map(int, row)), float(c), float(a), index >= len(wide) - len(again))
            for index, (row, c, a) in enumerate(zip(wide, costs, accuracies, strict=True))
        ]

    def _draw(
        self,
        space: Space,
        cost: ChainCost,
        subset: Subset,
        window: Constraint,
        trained: RoundTraining,
        wanted: int,
        rng: np.random.Generator,
    ) -> Population:
        """Distinct architectures in a window, each branch taken with its probability; what simplification
        dropped is not taken."""
        empty = np.empty((0, len(space.layers)), dtype=space.dtype)
        if wanted == 0:
            return empty
        others = [BoundedCost(b.constraint, restricted_cost(b.cost, subset)) for b in self._others]
        laws = []
        for theta, alive in zip(trained.thetas, trained.alive, strict=True):
            p = 1 / (1 + np.exp(-np.array(theta)))
            laws.append(BranchWeights(np.where(alive, p, 0.0), np.where(alive, 1 - p, 1.0)))
        try:
            feasible = FeasibleSet(space, [BoundedCost(window, cost), *others])
            found: dict[tuple[int, ...], None] = {}
            # A window may hold fewer architectures than wanted; drawing ends when little new comes.
            for _ in range(20):
                before = len(found)
                for row in feasible.weighted(laws, wanted, rng):
                    if len(found) < wanted:
                        found.setdefault(tuple(int(c) for c in row))
                if len(found) == wanted or len(found) - before < max(1, wanted // 100):
                    break
        except (InfeasibleError, ConstraintError):
            # Nothing there, or too little for the grid to tell.
            return empty
        return np.array(list(found), dtype=space.dtype).reshape(len(found), len(space.layers))
