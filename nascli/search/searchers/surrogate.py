"""A Gaussian process over architectures: what they share, and how sure a guess from it is.

Its kernel adds up views of an architecture, each with a weight and a scale that the data choose by their likelihood:
the codes themselves (how many layers agree), how often each operator occurs (layers of a stage are alike), and the
bounded costs. Costs and counts enter linearly too, since accuracy mostly grows with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from nascli.costmodel import ChainCost
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]


class Views:
    """Turns codes into the arrays that the kernel compares."""

    def __init__(self, space: Space, costs: Sequence[ChainCost], reference: Population) -> None:
        self._space = space
        self._costs = list(costs)
        programs: dict[str, int] = {}
        self._columns: list[list[int]] = []
        for layer in space.layers:
            keys = [c.program.canonical for c in layer.candidates]
            self._columns.append([programs.setdefault(key, len(programs)) for key in keys])
        self._programs = len(programs)
        shapes: dict[tuple[object, ...], int] = {}
        # A stage is what neighbours of the same candidates make up.
        self._stage = [
            shapes.setdefault(tuple(c.program.canonical for c in layer.candidates), len(shapes))
            for layer in space.layers
        ]
        _, counts, costs_of = self._raw(reference)
        self._count_scale = np.maximum(counts.std(axis=0), 1e-9)
        self._count_mean = counts.mean(axis=0)
        self._cost_mean, self._cost_scale = costs_of.mean(axis=0), np.maximum(costs_of.std(axis=0), 1e-12)

    def _raw(self, codes: Population) -> tuple[Array, Array, Array]:
        parts, counts = [], np.zeros((len(codes), self._programs))
        for number, layer in enumerate(self._space.layers):
            column = codes[:, number].astype(np.int64)
            width = len(layer.candidates)
            if layer.join == "single":
                taken = column[:, None] == np.arange(width)
            else:
                taken = (column[:, None] >> np.arange(width) & 1).astype(bool)
            parts.append(taken.astype(float))
            for candidate, place in enumerate(self._columns[number]):
                counts[:, place] += taken[:, candidate]
        costs = [np.log(np.maximum(cost(codes), 1e-30)) for cost in self._costs]
        return (
            np.concatenate(parts, axis=1),
            counts,
            np.stack(costs, axis=1) if costs else np.zeros((len(codes), 0)),
        )

    def __call__(self, codes: Population) -> tuple[Array, Array, Array]:
        """One-hot codes, standardised operator counts, standardised logarithms of costs."""
        one_hot, counts, costs = self._raw(codes)
        used = (counts - self._count_mean) / self._count_scale
        return (
            one_hot / np.sqrt(len(self._space.layers)),
            used / np.sqrt(max(1, used.shape[1])),
            (costs - self._cost_mean) / self._cost_scale / np.sqrt(max(1, costs.shape[1])),
        )


Seen = tuple[Array, Array, Array]


def _squares(a: Array, b: Array) -> Array:
    distances: Array = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0.0)
    return distances


class Surrogate:
    """The process, fitted to what was evaluated.

    Args:
        seen: views of the evaluated architectures.
        values: `(n,)` their scores.
        rng: for the search of the kernel's parameters.
        start: parameters of an earlier fit.
        trials: how many parameters are tried.
    """

    def __init__(
        self,
        seen: Seen,
        values: Array,
        rng: np.random.Generator,
        start: Array | None = None,
        trials: int = 60,
    ) -> None:
        self._seen = seen
        self._centre, self._spread = float(values.mean()), max(float(values.std()), 1e-9)
        self._y = (values - self._centre) / self._spread
        self._basis = _blocks(seen, seen)
        best = start if start is not None else _FIRST
        score = self._likelihood(best)
        if not np.isfinite(score):
            # An earlier fit may not carry what was evaluated since.
            best, score = _FIRST, self._likelihood(_FIRST)
        if not self._y.any():
            # All scores are the same: they say nothing of the kernel.
            best, trials = _FIRST, 0
        width = 1.0
        for trial in range(trials):
            if trial == trials // 2:
                width = 0.4
            tried = best + width * rng.standard_normal(len(best)) * (rng.random(len(best)) < 0.5)
            value = self._likelihood(tried)
            if value > score:
                best, score = tried, value
        self.parameters = best
        kernel = _kernel(self._basis, best, True)
        self._factor = cho_factor(kernel, lower=True)
        self._alpha = cho_solve(self._factor, self._y)

    def _likelihood(self, parameters: Array) -> float:
        try:
            factor, _ = cho_factor(_kernel(self._basis, parameters, True), lower=True)
        except np.linalg.LinAlgError:
            return -np.inf
        half = solve_triangular(factor, self._y, lower=True)
        fit = -0.5 * float(half @ half) - float(np.log(np.diag(factor)).sum())
        # A weak prior around the first guess keeps few data from choosing extremes.
        return fit - 0.5 * float((((parameters - _FIRST) / _WIDTH) ** 2).sum())

    def __call__(self, views: Seen) -> tuple[Array, Array]:
        """Mean and standard deviation of the scores of `(n,)` architectures."""
        across = _kernel(_blocks(views, self._seen), self.parameters, False)
        half = solve_triangular(self._factor[0], across.T, lower=True)
        variance = np.maximum(_own(views, self.parameters) - (half**2).sum(axis=0), 1e-12)
        mean = self._centre + self._spread * (across @ self._alpha)
        return mean, self._spread * np.sqrt(variance)


# Logarithms of: codes' weight and scale, counts' weight and scale, linear counts, costs' weight and scale, linear
# costs, noise. Noise starts low: tables repeat, and noisy evaluators raise it.
_FIRST = np.log(np.array([0.3, 1.0, 0.5, 1.5, 0.3, 0.5, 1.0, 1.0, 0.02]))
_WIDTH = np.array([1.0, 0.7, 1.0, 0.7, 1.0, 1.0, 0.7, 1.0, 1.0])


def _blocks(a: Seen, b: Seen) -> tuple[Array, ...]:
    return (
        _squares(a[0], b[0]), _squares(a[1], b[1]), a[1] @ b[1].T, _squares(a[2], b[2]), a[2] @ b[2].T,
    )  # fmt: skip


def _kernel(blocks: tuple[Array, ...], parameters: Array, noisy: bool) -> Array:
    codes, count_scale = np.exp(parameters[0]), np.exp(parameters[3])
    p = np.exp(parameters)
    kernel = codes * np.exp(-blocks[0] / (2 * p[1] ** 2))
    kernel += p[2] * np.exp(-blocks[1] / (2 * count_scale**2)) + p[4] * blocks[2]
    if blocks[4].any():
        kernel += p[5] * np.exp(-blocks[3] / (2 * p[6] ** 2)) + p[7] * blocks[4]
    if noisy:
        # In proportion to the kernel, so that rounding never outweighs it.
        kernel[np.diag_indices_from(kernel)] += p[8] + 1e-6 * max(1.0, float(kernel.diagonal().max()))
    return np.asarray(kernel)


def _own(views: Seen, parameters: Array) -> Array:
    p = np.exp(parameters)
    own = p[0] + p[2] + p[4] * (views[1] ** 2).sum(1)
    if views[2].any():
        own = own + p[5] + p[7] * (views[2] ** 2).sum(1)
    return np.asarray(own)
