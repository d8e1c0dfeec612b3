"""A Gaussian process over architectures, which predicts scores with their uncertainty.

Its kernel adds up three parts, each over other features of an architecture: the choices themselves (how many layers
agree), how often each operator occurs (the layers of a stage are similar), and the costs. Each part has a weight and a
length scale; operator counts and costs also enter linearly, since accuracy mostly grows with them. The parameters
maximise the likelihood of the scores under a weak prior.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from nascli.costmodel import ChainCost
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
# One-hot choices `(n, sum of candidates)`, operator counts `(n, operators)`, and logarithms of costs `(n, costs)`.
FeatureSet = tuple[Array, Array, Array]
# Squared distances and inner products between two sets of architectures, each `(n, m)`: distances of choices, distances
# and products of operator counts, distances and products of costs.
_Products = tuple[Array, Array, Array, Array, Array]

# The first guess of the logarithms of the kernel's parameters: weight and length scale of the choices, weight and
# length scale of the counts, linear weight of the counts, weight and length scale of the costs, linear weight of the
# costs, noise. The noise starts low, as in tables of a benchmark; the scores of noisy evaluators raise it.
_PRIOR_MEAN = np.log(np.array([0.3, 1.0, 0.5, 1.5, 0.3, 0.5, 1.0, 1.0, 0.02]))
_PRIOR_DEVIATION = np.array([1.0, 0.7, 1.0, 0.7, 1.0, 1.0, 0.7, 1.0, 1.0])


class Features:
    """Turns architectures into the features that the kernel compares.

    Args:
        space: The space of the architectures.
        costs: Costs that tell architectures apart.
        reference: `(n, layers)` architectures whose counts and costs have mean 0 and deviation 1.
    """

    def __init__(self, space: Space, costs: Sequence[ChainCost], reference: Population) -> None:
        self._space = space
        self._costs = list(costs)
        operators: dict[str, int] = {}
        # Per layer the number of each candidate's operator: the same operator counts together in all layers.
        self._operators: list[list[int]] = []
        for layer in space.layers:
            keys = [candidate.program.canonical for candidate in layer.candidates]
            self._operators.append([operators.setdefault(key, len(operators)) for key in keys])
        self._operator_count = len(operators)
        _, counts, log_costs = self._unscaled(reference)
        self._count_mean, self._count_scale = counts.mean(axis=0), np.maximum(counts.std(axis=0), 1e-9)
        self._cost_mean, self._cost_scale = log_costs.mean(axis=0), np.maximum(log_costs.std(axis=0), 1e-12)

    def _unscaled(self, population: Population) -> FeatureSet:
        one_hot, counts = [], np.zeros((len(population), self._operator_count))
        for number, layer in enumerate(self._space.layers):
            column = population[:, number].astype(np.int64)
            width = len(layer.candidates)
            if layer.join == "single":
                taken = column[:, None] == np.arange(width)
            else:
                taken = (column[:, None] >> np.arange(width) & 1).astype(bool)
            one_hot.append(taken.astype(float))
            for candidate, operator in enumerate(self._operators[number]):
                counts[:, operator] += taken[:, candidate]
        costs = [np.log(np.maximum(cost(population), 1e-30)) for cost in self._costs]
        log_costs = np.stack(costs, axis=1) if costs else np.zeros((len(population), 0))
        return np.concatenate(one_hot, axis=1), counts, log_costs

    def __call__(self, population: Population) -> FeatureSet:
        """Return the features of `(n, layers)` architectures; each part is scaled by its number of columns."""
        one_hot, counts, log_costs = self._unscaled(population)
        scaled_counts = (counts - self._count_mean) / self._count_scale
        return (
            one_hot / np.sqrt(len(self._space.layers)),
            scaled_counts / np.sqrt(max(1, scaled_counts.shape[1])),
            (log_costs - self._cost_mean) / self._cost_scale / np.sqrt(max(1, log_costs.shape[1])),
        )


class Surrogate:
    """A Gaussian process, fitted to evaluated architectures.

    Args:
        known: The features of the `n` evaluated architectures.
        values: `(n,)` their scores.
        rng: The source of randomness of the search for the kernel's parameters.
        start: `(9,)` parameters of an earlier fit, from which the search begins; None begins at the prior's mean.
        trials: The number of parameter vectors that the search tries.

    Attributes:
        parameters: `(9,)` logarithms of the kernel's parameters.
    """

    def __init__(
        self,
        known: FeatureSet,
        values: Array,
        rng: np.random.Generator,
        start: Array | None = None,
        trials: int = 60,
    ) -> None:
        self._known = known
        self._mean, self._scale = float(values.mean()), max(float(values.std()), 1e-9)
        self._targets = (values - self._mean) / self._scale
        self._products = _products(known, known)
        self.parameters = self._fit(rng, start, trials)
        kernel = _kernel(self._products, self.parameters, noisy=True)
        self._factor = cho_factor(kernel, lower=True)
        self._alpha = cho_solve(self._factor, self._targets)

    def _fit(self, rng: np.random.Generator, start: Array | None, trials: int) -> Array:
        """Return the parameters with the highest posterior density that a random search finds."""
        best = start if start is not None else _PRIOR_MEAN
        highest = self._log_posterior(best)
        if not np.isfinite(highest):
            # The kernel of an earlier fit may be singular for what was evaluated since.
            best, highest = _PRIOR_MEAN, self._log_posterior(_PRIOR_MEAN)
        if not self._targets.any():
            # Equal scores say nothing about the kernel.
            return np.asarray(_PRIOR_MEAN)
        for trial in range(trials):
            step = 1.0 if trial < trials // 2 else 0.4
            tried = best + step * rng.standard_normal(len(best)) * (rng.random(len(best)) < 0.5)
            density = self._log_posterior(tried)
            if density > highest:
                best, highest = tried, density
        return best

    def _log_posterior(self, parameters: Array) -> float:
        """Return the logarithm of likelihood times prior, without constants; -inf for a singular kernel."""
        try:
            factor, _ = cho_factor(_kernel(self._products, parameters, noisy=True), lower=True)
        except np.linalg.LinAlgError:
            return -np.inf
        whitened = solve_triangular(factor, self._targets, lower=True)
        likelihood = -0.5 * float(whitened @ whitened) - float(np.log(np.diag(factor)).sum())
        # The prior keeps few evaluations from choosing extreme parameters.
        return likelihood - 0.5 * float((((parameters - _PRIOR_MEAN) / _PRIOR_DEVIATION) ** 2).sum())

    def __call__(self, features: FeatureSet) -> tuple[Array, Array]:
        """Predict scores.

        Args:
            features: The features of `n` architectures.

        Returns:
            `(n,)` means and `(n,)` standard deviations of their scores.
        """
        across = _kernel(_products(features, self._known), self.parameters, noisy=False)
        whitened = solve_triangular(self._factor[0], across.T, lower=True)
        variance = np.maximum(_prior_variance(features, self.parameters) - (whitened**2).sum(axis=0), 1e-12)
        mean = self._mean + self._scale * (across @ self._alpha)
        return mean, self._scale * np.sqrt(variance)


def _squared_distances(a: Array, b: Array) -> Array:
    distances: Array = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0.0)
    return distances


def _products(a: FeatureSet, b: FeatureSet) -> _Products:
    """Return everything about two sets of architectures that does not depend on the kernel's parameters."""
    return (
        _squared_distances(a[0], b[0]),
        _squared_distances(a[1], b[1]),
        a[1] @ b[1].T,
        _squared_distances(a[2], b[2]),
        a[2] @ b[2].T,
    )


def _kernel(products: _Products, log_parameters: Array, *, noisy: bool) -> Array:
    """Return the `(n, m)` covariances; `noisy` adds the noise of the scores to the diagonal."""
    choices, counts, count_products, costs, cost_products = products
    p = np.exp(log_parameters)
    kernel = p[0] * np.exp(-choices / (2 * p[1] ** 2))
    kernel += p[2] * np.exp(-counts / (2 * p[3] ** 2)) + p[4] * count_products
    if cost_products.any():
        kernel += p[5] * np.exp(-costs / (2 * p[6] ** 2)) + p[7] * cost_products
    if noisy:
        # In proportion to the kernel, so that rounding errors never outweigh it.
        kernel[np.diag_indices_from(kernel)] += p[8] + 1e-6 * max(1.0, float(kernel.diagonal().max()))
    return np.asarray(kernel)


def _prior_variance(features: FeatureSet, log_parameters: Array) -> Array:
    """Return the `(n,)` variances before anything was evaluated: the diagonal of the kernel."""
    p = np.exp(log_parameters)
    variance = p[0] + p[2] + p[4] * (features[1] ** 2).sum(1)
    if features[2].any():
        variance = variance + p[5] + p[7] * (features[2] ** 2).sum(1)
    return np.asarray(variance)
