"""A search that spends few evaluations: a surrogate's expected improvement over the exact feasible set.

Where the feasible set is small every member is considered; where it is not, feasible draws, and feasible mutants
and
crossings of the best so far. A batch is filled one by one, each pretended to score what the surrogate expects.

For a whole front of score against a cost, the gain is the expected growth of the area under the front; since the
cost is known before anything is evaluated, that expectation is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from nascli.costmodel import ChainCost, FeasibleSet
from nascli.search.base import Score
from nascli.search.searchers.settings import GuidedSettings
from nascli.search.searchers.surrogate import Surrogate, Views
from nascli.spaces.space import Population

Array = npt.NDArray[np.float64]
_TRIALS = 60


class GuidedSearcher:
    """Bayesian optimisation over a feasible set.

    Args:
        feasible: where to search.
        settings: how.
        rng: the source of randomness.
        costs: further costs that may tell architectures apart; the budgets' own are used anyway.
        front: the cost of a whole front, cheaper being better; None looks for the single best.
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
        self._feasible, self._settings, self._rng = feasible, settings, rng
        count = feasible.count()
        self._expected = min(settings.evaluations, count)
        self._all = feasible.enumerate() if count <= settings.pool else None
        reference = self._all if self._all is not None else feasible.sample(500, rng)
        known = {budget.cost.name + str(budget.cost.device): budget.cost for budget in feasible.budgets}
        known |= {cost.name + str(cost.device): cost for cost in costs}
        self._front = front
        if front is not None:
            known[front.name + str(front.device)] = front
        self._views = Views(feasible.space, list(known.values()), reference)
        self._codes: list[tuple[int, ...]] = []
        self._values: list[float] = []
        self._parameters: Array | None = None

    @property
    def expected(self) -> int:
        """As many as asked for, or all there are."""
        return self._expected

    def ask(self) -> Population:
        """The next batch; no rows when the evaluations are spent."""
        left = self._expected - len(self._codes)
        space = self._feasible.space
        if left <= 0:
            return np.empty((0, len(space.layers)), space.dtype)
        if len(self._codes) < self._settings.first:
            return self._spread(min(self._settings.first, left))
        return self._promising(min(self._settings.batch, left))

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """Learn the scores."""
        for row, score in zip(codes, scores, strict=True):
            self._codes.append(tuple(int(c) for c in row))
            self._values.append(score.value)

    def _spread(self, n: int) -> Population:
        """Feasible architectures that lie far from each other: the first at random, each next the farthest."""
        pool = self._pool()
        views = np.concatenate(self._views(pool), axis=1)
        chosen = [int(self._rng.integers(len(pool)))]
        nearest = ((views - views[chosen[0]]) ** 2).sum(axis=1)
        while len(chosen) < min(n, len(pool)):
            # Drawn in proportion to the distance rather than the farthest of all, which lies in a corner.
            weights = nearest / nearest.sum() if nearest.sum() > 0 else None
            chosen.append(int(self._rng.choice(len(pool), p=weights)))
            nearest = np.minimum(nearest, ((views - views[chosen[-1]]) ** 2).sum(axis=1))
        return pool[chosen]

    def _pool(self) -> Population:
        visited = set(self._codes)
        if self._all is not None:
            rows = self._all
        else:
            size = self._settings.pool
            parts = [self._feasible.sample(size // 3, self._rng)]
            ranked: list[int] = np.argsort(self._values)[::-1][:10].tolist() if self._values else []
            for rank, index in enumerate(ranked):
                parent = np.array(self._codes[index], dtype=self._feasible.space.dtype)
                share = size // (30 if rank else 6)
                few = 1.5 / len(parent)
                parts.append(self._feasible.mutate(parent, few, share, self._rng))
                other = np.array(self._codes[int(self._rng.choice(ranked))], dtype=self._feasible.space.dtype)
                parts.append(self._feasible.crossover(parent, other, size // 30, self._rng))
            rows = np.unique(np.concatenate(parts), axis=0)
        fresh = [i for i, row in enumerate(rows.tolist()) if tuple(row) not in visited]
        return rows[fresh]

    def _promising(self, n: int) -> Population:
        pool = self._pool()
        views = self._views(pool)
        values = np.array(self._values)
        known = np.array(self._codes, dtype=self._feasible.space.dtype)
        seen = self._views(known)
        chosen: list[int] = []
        for _ in range(min(n, len(pool))):
            # Choosing parameters costs the cube of what was evaluated, and matters ever less.
            trials = 0 if chosen else max(3, int(_TRIALS * min(1.0, (80 / len(values)) ** 2)))
            model = Surrogate(seen, values, self._rng, self._parameters, trials)
            self._parameters = model.parameters
            mean, deviation = model(views)
            if self._front is None:
                gain = expected_improvement(mean, deviation, float(np.max(self._values)))
            else:
                spent = self._front(known), self._front(pool)
                gain = front_improvement(mean, deviation, spent[1], spent[0], np.array(self._values))
            gain[chosen] = -np.inf
            pick = int(np.argmax(gain))
            chosen.append(pick)
            seen = (
                np.vstack([seen[0], views[0][pick]]),
                np.vstack([seen[1], views[1][pick]]),
                np.vstack([seen[2], views[2][pick]]),
            )
            values = np.append(values, mean[pick])
        return pool[chosen]


def expected_improvement(mean: Array, deviation: Array, best: Array | float) -> Array:
    """E[max(0, score - best)] of a normal guess (Jones et al. 1998)."""
    z = (mean - best) / deviation
    return np.asarray(deviation * (z * norm.cdf(z) + norm.pdf(z)))


def front_improvement(mean: Array, deviation: Array, costs: Array, seen_costs: Array, seen: Array) -> Array:
    """Expected growth of the area under the front of score against cost, per candidate.

    The front is the best score at or below each cost. A candidate of cost c and score a adds the area between
    a and the front from c on; over the front's steps that is a sum of expected improvements times their widths.

    Args:
        mean, deviation: `(n,)` the guess of each candidate's score.
        costs: `(n,)` the candidates' known costs.
        seen_costs, seen: `(m,)` what was evaluated.
    """
    low, high = min(costs.min(), seen_costs.min()), max(costs.max(), seen_costs.max())
    span = max(high - low, 1e-30)
    order = np.lexsort((-seen, seen_costs))
    # The front goes on a little beyond the most expensive point, so that more accurate and more expensive
    # candidates are worth something.
    edges = np.append((seen_costs[order] - low) / span, 1.05)
    heights = np.maximum.accumulate(seen[order])
    floor = float(seen.min())
    starts = np.concatenate([[-0.05], edges[:-1]])
    levels = np.concatenate([[floor], heights])
    at = (costs - low) / span
    widths = np.maximum(0.0, edges[None, :] - np.maximum(starts[None, :], at[:, None]))
    gains = expected_improvement(mean[:, None], deviation[:, None], levels[None, :])
    return np.asarray((widths * gains).sum(axis=1))


def area_under_front(costs: Array, scores: Array, low: float, high: float, floor: float) -> float:
    """The area under the front of score against cost between two costs, above a floor (the hypervolume)."""
    order = np.lexsort((-scores, costs))
    inside = costs[order] <= high
    edges = np.append(np.maximum(costs[order][inside], low), high)
    heights = np.maximum(np.maximum.accumulate(scores[order][inside]), floor) - floor
    return float((heights * np.diff(edges)).sum())
