"""Bayesian optimisation over a feasible set, for searches that can afford few evaluations.

A surrogate predicts the scores of candidates, and those with the largest expected improvement are evaluated next. If
the feasible set is small, every member is a candidate; otherwise candidates are feasible draws, and feasible mutants
and crossovers of the best architectures so far. A batch is filled one by one, as if each member had already scored
what the surrogate predicts.

Instead of one best score, the search can look for the whole front of score against a cost. The improvement is then the
expected growth of the area under the front. The cost of an architecture is known before it is evaluated, so that this
expectation has a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from nascli.costmodel import ChainCost, FeasibleSet
from nascli.search.base import Choices, Score
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.searchers.surrogate import Features, FeatureSet, Surrogate
from nascli.spaces.space import Population

Array = npt.NDArray[np.float64]
# Kernel parameters that are tried for the first member of a batch, while there are at most `_FULL_TRIALS` evaluations.
_TRIALS = 60
_FULL_TRIALS = 80
# Architectures whose mutants and crossovers are candidates.
_PARENTS = 10


class GuidedSearcher:
    """Expected improvement by a Gaussian process over a feasible set.

    Args:
        feasible: The architectures to search.
        settings: How many architectures are evaluated, and how many at a time.
        rng: The source of randomness.
        costs: Further costs by which the surrogate tells architectures apart; it always uses those of the budgets.
        front: The cost of a front to look for, of which less is better; None looks for the best score.
    """

    name = "guided"

    def __init__(
        self,
        feasible: FeasibleSet,
        settings: GuidedSettings,
        rng: np.random.Generator,
        costs: Sequence[ChainCost] = (),
        front: ChainCost | None = None,
    ) -> None:
        self._feasible, self._settings, self._rng, self._front = feasible, settings, rng, front
        count = feasible.count()
        self._expected = min(settings.evaluations, count)
        self._members = feasible.enumerate() if count <= settings.pool else None
        reference = self._members if self._members is not None else feasible.sample(500, rng)
        all_costs = [*(budget.cost for budget in feasible.budgets), *costs]
        all_costs += [] if front is None else [front]
        by_name = {cost.name + str(cost.device): cost for cost in all_costs}
        self._features = Features(feasible.space, list(by_name.values()), reference)
        self._evaluated: list[Choices] = []
        self._values: list[float] = []
        self._parameters: Array | None = None

    @property
    def expected(self) -> int:
        """The number of evaluations: the wanted number, or the size of a smaller feasible set."""
        return self._expected

    def ask(self) -> Population:
        """Return the next batch; no rows when all evaluations are spent."""
        remaining = self._expected - len(self._evaluated)
        space = self._feasible.space
        if remaining <= 0:
            return np.empty((0, len(space.layers)), space.dtype)
        if len(self._evaluated) < self._settings.first:
            return self._diverse(min(self._settings.first, remaining))
        return self._promising(min(self._settings.batch, remaining))

    def tell(self, population: Population, scores: Sequence[Score]) -> None:
        """Learn the values of the scores."""
        for row, score in zip(population, scores, strict=True):
            self._evaluated.append(tuple(int(choice) for choice in row))
            self._values.append(score.value)

    def _diverse(self, n: int) -> Population:
        """Draw n candidates that are far from each other: the first uniformly, each next by its squared distance."""
        candidates = self._candidates()
        features = np.concatenate(self._features(candidates), axis=1)
        chosen = [int(self._rng.integers(len(candidates)))]
        nearest = ((features - features[chosen[0]]) ** 2).sum(axis=1)
        while len(chosen) < min(n, len(candidates)):
            # The farthest of all would lie in a corner of the space; so it is drawn in proportion to the distance.
            weights = nearest / nearest.sum() if nearest.sum() > 0 else None
            chosen.append(int(self._rng.choice(len(candidates), p=weights)))
            nearest = np.minimum(nearest, ((features - features[chosen[-1]]) ** 2).sum(axis=1))
        return candidates[chosen]

    def _candidates(self) -> Population:
        """Return architectures that were not evaluated: all of a small feasible set, else draws and offspring."""
        rows = self._members if self._members is not None else self._draws_and_offspring()
        evaluated = set(self._evaluated)
        return rows[[i for i, row in enumerate(rows.tolist()) if tuple(row) not in evaluated]]

    def _draws_and_offspring(self) -> Population:
        """Draw about `pool` distinct architectures; more of them are mutants of the best one than of any other."""
        size, dtype = self._settings.pool, self._feasible.space.dtype
        parts = [self._feasible.sample(size // 3, self._rng)]
        best: list[int] = np.argsort(self._values)[::-1][:_PARENTS].tolist() if self._values else []
        for rank, index in enumerate(best):
            parent = np.array(self._evaluated[index], dtype=dtype)
            mutants = size // (30 if rank else 6)
            parts.append(self._feasible.mutate(parent, 1.5 / len(parent), mutants, self._rng))
            other = np.array(self._evaluated[int(self._rng.choice(best))], dtype=dtype)
            parts.append(self._feasible.crossover(parent, other, size // 30, self._rng))
        return np.unique(np.concatenate(parts), axis=0)

    def _promising(self, n: int) -> Population:
        """Return the n candidates with the largest expected improvement, chosen one after the other."""
        candidates = self._candidates()
        features = self._features(candidates)
        values = np.array(self._values)
        evaluated = np.array(self._evaluated, dtype=self._feasible.space.dtype)
        known = self._features(evaluated)
        chosen: list[int] = []
        for _ in range(min(n, len(candidates))):
            # The time of a trial grows with the cube of the number of evaluations, and its benefit shrinks.
            trials = 0 if chosen else max(3, int(_TRIALS * min(1.0, (_FULL_TRIALS / len(values)) ** 2)))
            model = Surrogate(known, values, self._rng, self._parameters, trials)
            self._parameters = model.parameters
            mean, deviation = model(features)
            gain = self._gain(mean, deviation, candidates, evaluated)
            gain[chosen] = -np.inf
            pick = int(np.argmax(gain))
            chosen.append(pick)
            known = _append(known, features, pick)
            values = np.append(values, mean[pick])
        return candidates[chosen]

    def _gain(self, mean: Array, deviation: Array, candidates: Population, evaluated: Population) -> Array:
        """Return the `(n,)` expected improvement of candidates over what was evaluated."""
        if self._front is None:
            return expected_improvement(mean, deviation, float(np.max(self._values)))
        costs, evaluated_costs = self._front(candidates), self._front(evaluated)
        return front_improvement(mean, deviation, costs, evaluated_costs, np.array(self._values))


def _append(known: FeatureSet, features: FeatureSet, row: int) -> FeatureSet:
    """Return features with one more row, taken from others."""
    first, second, third = (np.vstack([a, b[row]]) for a, b in zip(known, features, strict=True))
    return first, second, third


def expected_improvement(mean: Array, deviation: Array, best: Array | float) -> Array:
    """Return E[max(0, score - best)] for a normally distributed score (Jones et al. 1998, Eq. 15).

    Args:
        mean: The mean of each score.
        deviation: The standard deviation of each score, of the same shape.
        best: The score to improve on; broadcast against the others.
    """
    z = (mean - best) / deviation
    return np.asarray(deviation * (z * norm.cdf(z) + norm.pdf(z)))


def front_improvement(
    mean: Array, deviation: Array, costs: Array, evaluated_costs: Array, evaluated_scores: Array
) -> Array:
    """Return the expected growth of the area under the front of score against cost, per candidate.

    The front is the best score at or below each cost. A candidate of cost c and score a adds the area between a and
    the front from c on; over the steps of the front that is the sum of expected improvements times their widths.

    Args:
        mean: `(n,)` means of the candidates' scores.
        deviation: `(n,)` standard deviations of the candidates' scores.
        costs: `(n,)` costs of the candidates.
        evaluated_costs: `(m,)` costs of the evaluated architectures.
        evaluated_scores: `(m,)` scores of the evaluated architectures.

    Returns:
        `(n,)` expected growth, in units of score times the range of all costs.
    """
    low = min(costs.min(), evaluated_costs.min())
    high = max(costs.max(), evaluated_costs.max())
    span = max(high - low, 1e-30)
    order = np.lexsort((-evaluated_scores, evaluated_costs))
    # The front extends a little beyond the most expensive point, so that candidates that are more accurate and more
    # expensive than it have an improvement.
    edges = np.append((evaluated_costs[order] - low) / span, 1.05)
    heights = np.maximum.accumulate(evaluated_scores[order])
    floor = float(evaluated_scores.min())
    starts = np.concatenate([[-0.05], edges[:-1]])
    levels = np.concatenate([[floor], heights])
    positions = (costs - low) / span
    widths = np.maximum(0.0, edges[None, :] - np.maximum(starts[None, :], positions[:, None]))
    gains = expected_improvement(mean[:, None], deviation[:, None], levels[None, :])
    return np.asarray((widths * gains).sum(axis=1))


def area_under_front(costs: Array, scores: Array, low: float, high: float, floor: float) -> float:
    """Return the area under the front of score against cost (its hypervolume).

    Args:
        costs: `(n,)` costs.
        scores: `(n,)` scores.
        low: The cost at which the area begins.
        high: The cost at which it ends.
        floor: The score above which the area counts.
    """
    order = np.lexsort((-scores, costs))
    inside = costs[order] <= high
    edges = np.append(np.maximum(costs[order][inside], low), high)
    heights = np.maximum(np.maximum.accumulate(scores[order][inside]), floor) - floor
    return float((heights * np.diff(edges)).sum())
