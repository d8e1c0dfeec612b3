"""Optuna's TPE and pymoo's genetic algorithm as searchers, for comparison (extra `bench`).

An adapter reports proposals outside of the budget as infeasible without an evaluation, since the cost of an
architecture is known before it is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost, FeasibleSet
from nascli.errors import ConstraintError, missing_package
from nascli.search.base import Score
from nascli.spaces.space import Population

# Proposals that may be infeasible or known before a searcher gives up.
_PATIENCE = 3000


def _violation(feasible: FeasibleSet, row: Population) -> float:
    """By how much an architecture breaks its budgets, relative to each bound; 0 where it keeps them."""
    total = 0.0
    for budget in feasible.budgets:
        cost = float(budget.cost(row)[0])
        high, low = budget.constraint.high, budget.constraint.low
        if cost > high:
            total += cost / high - 1
        if cost < low:
            total += 1 - cost / low
    return total


def _require_single_path(feasible: FeasibleSet) -> None:
    if feasible.space.multi_branch:
        raise ConstraintError(f"{feasible.space.name} is multi-branch, which this adapter cannot encode.")


class OptunaSearcher:
    """Optuna's tree-structured Parzen estimator, one categorical parameter per layer, with its constraints."""

    name = "optuna-tpe"

    def __init__(self, feasible: FeasibleSet, evaluations: int, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise missing_package("optuna", "bench", "the searcher optuna-tpe") from error
        _require_single_path(feasible)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        sampler = optuna.samplers.TPESampler(
            seed=seed, constraints_func=lambda trial: (trial.user_attrs.get("violation", 0.0),)
        )
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._feasible, self.expected = feasible, min(evaluations, feasible.count())
        self._trial: Any = None
        self._known: dict[tuple[int, ...], float] = {}
        self._worst = 0.0

    def ask(self) -> Population:
        """The next feasible architecture that was not proposed before."""
        space = self._feasible.space
        for _ in range(_PATIENCE if len(self._known) < self.expected else 0):
            trial = self._study.ask()
            code = [
                trial.suggest_categorical(f"layer{i}", list(range(len(layer.candidates))))
                for i, layer in enumerate(space.layers)
            ]
            row = np.array([code], dtype=space.dtype)
            violation = _violation(self._feasible, row)
            trial.set_user_attr("violation", violation)
            if violation > 0:
                self._study.tell(trial, self._worst)
            elif tuple(code) in self._known:
                self._study.tell(trial, self._known[tuple(code)])
            else:
                self._trial = trial
                return row
        return np.empty((0, len(space.layers)), space.dtype)

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """Pass the score on."""
        value = scores[0].value
        self._worst = min(self._worst, value) if self._known else value
        self._known[tuple(int(c) for c in codes[0])] = value
        self._study.tell(self._trial, value)


class PymooSearcher:
    """pymoo's genetic algorithm over integers, constraints as violations; with a front's cost, NSGA-II."""

    def __init__(
        self,
        feasible: FeasibleSet,
        evaluations: int,
        seed: int,
        population: int = 20,
        front: ChainCost | None = None,
    ) -> None:
        try:
            from pymoo.algorithms.moo.nsga2 import NSGA2
            from pymoo.algorithms.soo.nonconvex.ga import GA
            from pymoo.core.problem import Problem
            from pymoo.operators.crossover.sbx import SBX
            from pymoo.operators.mutation.pm import PM
            from pymoo.operators.repair.rounding import RoundingRepair
            from pymoo.operators.sampling.rnd import IntegerRandomSampling
        except ImportError as error:
            raise missing_package("pymoo", "bench", "the searcher pymoo-ga") from error
        _require_single_path(feasible)
        sizes = np.array([len(layer.candidates) for layer in feasible.space.layers])
        objectives = 1 if front is None else 2
        problem = Problem(n_var=len(sizes), n_obj=objectives, n_ieq_constr=1, xl=0, xu=sizes - 1, vtype=int)
        self.name = "pymoo-ga" if front is None else "pymoo-nsga2"
        self._front = front
        self._algorithm = (GA if front is None else NSGA2)(
            pop_size=population,
            sampling=IntegerRandomSampling(),
            crossover=SBX(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            mutation=PM(prob=1.0, eta=3.0, vtype=float, repair=RoundingRepair()),
            eliminate_duplicates=True,
        )
        self._algorithm.setup(problem, seed=seed, verbose=False, termination=("n_gen", _PATIENCE))
        self._feasible, self.expected = feasible, min(evaluations, feasible.count())
        self._known: dict[tuple[int, ...], float] = {}
        self._asked: list[tuple[int, ...]] = []
        self._population: Any = None

    def ask(self) -> Population:
        """The new feasible members of the next generation that has any."""
        space = self._feasible.space
        while len(self._known) < self.expected and self._algorithm.has_next():
            self._population = self._algorithm.ask()
            rows = [tuple(round(v) for v in x) for x in self._population.get("X")]
            self._violations = [
                _violation(self._feasible, np.array([row], dtype=space.dtype)) for row in rows
            ]
            self._rows = rows
            fresh = [
                row
                for row, violation in zip(rows, self._violations, strict=True)
                if violation == 0 and row not in self._known
            ]
            self._asked = list(dict.fromkeys(fresh))
            if self._asked:
                return np.array(self._asked, dtype=space.dtype)
            self._pass_on()
        return np.empty((0, len(space.layers)), space.dtype)

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """Pass the generation on."""
        for row, score in zip(codes, scores, strict=True):
            self._known[tuple(int(c) for c in row)] = score.value
        self._pass_on()

    def _pass_on(self) -> None:
        from pymoo.core.evaluator import Evaluator
        from pymoo.problems.static import StaticProblem

        # What was not evaluated is infeasible, and its objective is then not looked at.
        values = np.array([[-self._known.get(row, 0.0)] for row in self._rows])
        if self._front is not None:
            spent = self._front(np.array(self._rows, dtype=self._feasible.space.dtype))
            values = np.concatenate([values, spent[:, None]], axis=1)
        violations = np.array([[v] for v in self._violations])
        static = StaticProblem(self._algorithm.problem, F=values, G=violations)
        Evaluator().eval(static, self._population)
        self._algorithm.tell(infills=self._population)
