"""A search that spends few evaluations: a surrogate's expected improvement over the exact feasible set.

Where the feasible set is small every member is considered; where it is not, feasible draws, and feasible mutants and
crossings of the best so far. A batch is filled one by one, each pretended to score what the surrogate expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from nascli.costmodel import ChainCost, FeasibleSet
from nascli.errors import NascliError
from nascli.search.base import Score
from nascli.search.surrogate import Surrogate, Views
from nascli.spaces.space import Codes

Array = npt.NDArray[np.float64]
_TRIALS = 60


@dataclass(frozen=True)
class Guidance:
    """How the search is guided.

    Attributes:
        evaluations: in all.
        first: evaluated before the surrogate speaks.
        batch: proposed at a time.
        pool: candidates that are considered each time, where the feasible set is larger.
    """

    evaluations: int = 100
    first: int = 8
    batch: int = 4
    pool: int = 3000

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.evaluations or self.batch < 1 or self.pool < 10:
            raise NascliError(
                "2 <= first <= evaluations, batch >= 1 and pool >= 10 must hold, got "
                f"{self.first}, {self.evaluations}, {self.batch} and {self.pool}"
            )


class GuidedSearcher:
    """Bayesian optimisation over a feasible set.

    Args:
        feasible: where to search.
        settings: how.
        rng: the source of randomness.
        costs: further costs that may tell architectures apart; the budgets' own are used anyway.
    """

    name = "guided"

    def __init__(
        self,
        feasible: FeasibleSet,
        settings: Guidance,
        rng: np.random.Generator,
        costs: Sequence[ChainCost] = (),
    ) -> None:
        self._feasible, self._settings, self._rng = feasible, settings, rng
        count = feasible.count()
        self._expected = min(settings.evaluations, count)
        self._all = feasible.enumerate() if count <= settings.pool else None
        reference = self._all if self._all is not None else feasible.sample(500, rng)
        known = {budget.cost.name + str(budget.cost.device): budget.cost for budget in feasible.budgets}
        known |= {cost.name + str(cost.device): cost for cost in costs}
        self._views = Views(feasible.space, list(known.values()), reference)
        self._codes: list[tuple[int, ...]] = []
        self._values: list[float] = []
        self._parameters: Array | None = None

    @property
    def expected(self) -> int:
        """As many as asked for, or all there are."""
        return self._expected

    def ask(self) -> Codes:
        """The next batch; no rows when the evaluations are spent."""
        left = self._expected - len(self._codes)
        space = self._feasible.space
        if left <= 0:
            return np.empty((0, len(space.layers)), space.dtype)
        if len(self._codes) < self._settings.first:
            return self._spread(min(self._settings.first, left))
        return self._promising(min(self._settings.batch, left))

    def tell(self, codes: Codes, scores: Sequence[Score]) -> None:
        """Learn the scores."""
        for row, score in zip(codes, scores, strict=True):
            self._codes.append(tuple(int(c) for c in row))
            self._values.append(score.value)

    def _spread(self, n: int) -> Codes:
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

    def _pool(self) -> Codes:
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
                parts.append(self._feasible.cross(parent, other, size // 30, self._rng))
            rows = np.unique(np.concatenate(parts), axis=0)
        fresh = [i for i, row in enumerate(rows.tolist()) if tuple(row) not in visited]
        return rows[fresh]

    def _promising(self, n: int) -> Codes:
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
            best = float(np.max(self._values))
            z = (mean - best) / deviation
            gain = deviation * (z * norm.cdf(z) + norm.pdf(z))
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
