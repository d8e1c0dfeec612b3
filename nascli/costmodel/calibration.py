"""Calibration of a sum of operators on measured networks, with intervals of known confidence.

The model is a Bayesian linear regression of the measured seconds y, in relative errors, on a few sums and on a term of
each operator:

    y(a) = c0 + alpha * in_context(a) + beta * alone(a) + gamma * weight_bytes(a) + sum_l d[l, a_l]

(in a multi-branch space with a further term delta * branches(a)). Priors are centred on the plain sum (c0 = 0,
alpha = 1, all others 0), and the prior of d[l, o] is proportional to the latency of the operator. The prior widths are
chosen by leave-one-out errors, which a linear regression has in closed form. The same errors give the interval, which
is conformal with leave-one-out residuals instead of a second set of networks (the jackknife of Barber et al. 2021). The
calibrated cost is again a chain.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError, Remedy
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
MIN_NETWORKS = 8
# Relative prior widths of the common factors and of the terms of operators, and relative noise, that are tried.
_COMMON, _OWN, _NOISE = (0.02, 0.1, 0.4), (0.0, 0.03, 0.1, 0.3), (0.003, 0.01, 0.03)
# Fits whose error is at most this many times the smallest one are averaged.
_AVERAGED = 1.15
# A network whose error is at least this many times the median error contradicts the others.
_OUTLYING = 6.0


@dataclass(frozen=True)
class Calibration:
    """A calibrated cost and its errors.

    Attributes:
        cost: The calibrated chain; its kind is 'calibrated'.
        errors: `(n,)` relative leave-one-out errors of the measured networks: predicted over measured, minus 1.
        plain_errors: `(n,)` relative errors of the plain sum.
        fitted_range: Minimum and maximum measured seconds.
        contradicting: Architectures whose measurement the others contradict.
        space: The specification of the space.
    """

    cost: ChainCost
    errors: Array
    plain_errors: Array
    fitted_range: tuple[float, float]
    contradicting: tuple[tuple[int, ...], ...]
    space: str

    def half_width(self, confidence: float) -> float:
        """Return half the width of the relative interval that contains the measured value with some confidence.

        Args:
            confidence: Probability in (0, 1).

        Raises:
            ConstraintError: There are too few networks for this confidence.
        """
        n = len(self.errors)
        rank = int(np.ceil((n + 1) * confidence))
        if not 0 < confidence < 1 or rank > n:
            raise ConstraintError(
                f"{n} networks give intervals of at most {n / (n + 1):.0%} confidence, not {confidence:.0%}.",
                "Calibrate on more.",
                Remedy(job="calibrate", arguments={"space": self.space, "networks": 40}),
            )
        # Errors are relative to the measured value, but the interval is around the predicted value.
        deviations = np.sort(np.abs(1 / (1 + self.errors) - 1))
        return float(deviations[rank - 1])

    def extrapolates(self, seconds: float) -> bool:
        """Return whether a predicted latency lies outside the range of the measured ones."""
        low, high = self.fitted_range
        return not low <= seconds <= high


def spread_architectures(space: Space, cost: ChainCost, count: int, rng: np.random.Generator) -> Population:
    """Draw architectures that cover the range of a cost.

    The first two are the cheapest and the most expensive architecture. Further ones are spread evenly over the range,
    until half of them are drawn; the others are drawn uniformly. Most architectures cost about the same, where evenly
    spread ones are rare, and the uniform half makes the fit accurate there.

    Args:
        space: Single-path or multi-branch space.
        cost: The cost whose range is covered.
        count: Number of architectures.
        rng: Random generator.

    Returns:
        `(count, layers)` architectures.

    Raises:
        ConstraintError: `count` is below 2.
    """
    from nascli.costmodel.constraints import Constraint
    from nascli.costmodel.feasible import BoundedCost, FeasibleSet, best
    from nascli.errors import InfeasibleError

    if count < 2:
        raise ConstraintError(f"at least 2 networks are needed to cover a space, got {count}")
    whole_space = FeasibleSet(space, [])
    rows = [best(whole_space, [sign * values for values in cost.unary]) for sign in (-1, 1)]
    edges = np.linspace(cost.minimum, cost.maximum, max(2, (count + 1) // 2))
    for low, high in itertools.pairwise(edges):
        try:
            feasible = FeasibleSet(space, [BoundedCost(Constraint(cost.name, float(low), float(high)), cost)])
        except InfeasibleError:
            # A small space has gaps, which draws from the whole space fill.
            rows.append(space.sample(1, rng)[0])
        else:
            rows.append(feasible.sample(1, rng)[0])
    rows += list(space.sample(max(0, count - len(rows)), rng))
    return np.array(rows[:count], dtype=space.dtype)


def calibrate(
    space: Space, sums: Sequence[ChainCost], population: Population, seconds: npt.ArrayLike
) -> Calibration:
    """Fit a chain to the latencies of measured networks.

    Args:
        space: The space of the architectures.
        sums: The plain sum, on which the prior is centred, and further sums (alone, weight bytes).
        population: `(n, layers)` architectures that were measured.
        seconds: `(n,)` their latencies in seconds.

    Raises:
        ConstraintError: There are fewer than 8 networks, or a latency is not finite and above 0.
    """
    y = np.asarray(seconds, dtype=float)
    if len(y) != len(population) or len(y) < MIN_NETWORKS:
        raise ConstraintError(
            f"calibration needs at least {MIN_NETWORKS} measured architectures, got {len(y)} latencies of "
            f"{len(population)} architectures.",
            "Measure some.",
            Remedy(job="calibrate", arguments={"space": space.spec}),
        )
    if not np.all(np.isfinite(y) & (y > 0)):
        raise ConstraintError("calibration needs latencies that are finite and above 0")
    plain = sums[0](population)
    scaled = _scaled_sums(sums, population, float(np.median(plain)))
    common = np.stack([np.full(len(y), np.median(y)), *scaled], axis=1)
    own, owners = _operator_terms(space, sums[0], population)
    prior_mean = np.array([0.0, 1.0, *np.zeros(len(sums) - 1)])
    residual = (y - common @ prior_mean) / y
    common_r, own_r = common / y[:, None], own / y[:, None]
    fits: list[tuple[float, Array, Array]] = []
    for width, each, noise in itertools.product(_COMMON, _OWN, _NOISE):
        kernel = width**2 * common_r @ common_r.T + each**2 * own_r @ own_r.T
        inverse = np.linalg.inv(kernel + noise**2 * np.eye(len(y)))
        weights = inverse @ residual
        left_out = weights / np.diag(inverse)
        score = float(np.mean(np.abs(left_out)))
        theta = np.concatenate([prior_mean + width**2 * common_r.T @ weights, each**2 * own_r.T @ weights])
        fits.append((score, theta, left_out))
    smallest = min(score for score, _, _ in fits)
    # Fits of about the same error are averaged, because noise decides which of them is best on so few networks.
    averaged = [fit for fit in fits if fit[0] <= _AVERAGED * smallest]
    theta = np.mean([fit[1] for fit in averaged], axis=0)
    left_out = np.mean([fit[2] for fit in averaged], axis=0)
    typical = float(np.median(np.abs(left_out)))
    contradicting = np.flatnonzero(np.abs(left_out) > _OUTLYING * max(typical, 1e-3))
    return Calibration(
        cost=_calibrated_chain(
            space, sums, theta, owners, population, typical=(float(np.median(y)), float(np.median(plain)))
        ),
        errors=-left_out,
        plain_errors=plain / y - 1,
        fitted_range=(float(y.min()), float(y.max())),
        contradicting=tuple(tuple(int(choice) for choice in population[i]) for i in contradicting),
        space=space.spec,
    )


def _scaled_sums(sums: Sequence[ChainCost], population: Population, typical: float) -> list[Array]:
    """Return the values of every sum; those after the first are scaled to a median of `typical`."""
    scaled = [sums[0](population)]
    for other in sums[1:]:
        values = other(population)
        scaled.append(values * typical / max(float(np.median(values)), 1e-30))
    return scaled


def _operator_terms(
    space: Space, cost: ChainCost, population: Population
) -> tuple[Array, list[list[tuple[int, int]]]]:
    """Return the terms of distinct operators, and where each operator occurs.

    Returns:
        `(n, operators)` seconds of each network that belong to each operator; and for each operator, the pairs of a
        layer and a candidate.
    """
    columns: dict[str, int] = {}
    owners: list[list[tuple[int, int]]] = []
    matrix: list[Array] = []
    for number, layer in enumerate(space.layers):
        for index, candidate in enumerate(layer.candidates):
            key = candidate.program.canonical
            if key not in columns:
                columns[key] = len(owners)
                owners.append([])
                matrix.append(np.zeros(len(population)))
            owners[columns[key]].append((number, index))
            choices = population[:, number]
            chosen = choices == index if layer.join == "single" else choices >> index & 1
            matrix[columns[key]] += np.where(chosen, cost.unary[number][index], 0.0)
    return np.stack(matrix, axis=1), owners


def _calibrated_chain(
    space: Space,
    sums: Sequence[ChainCost],
    theta: Array,
    owners: Sequence[list[tuple[int, int]]],
    population: Population,
    *,
    typical: tuple[float, float],
) -> ChainCost:
    """Return the chain of fitted coefficients; `typical` are the medians of measured latency and of the plain sum."""
    typical_measured, typical_plain = typical
    factors = [float(theta[1])]
    for other, coefficient in zip(sums[1:], theta[2:], strict=False):
        median = max(float(np.median(other(population))), 1e-30)
        factors.append(float(coefficient) * typical_plain / median)
    offset = float(theta[0]) * typical_measured
    unary = [np.zeros(len(layer.candidates)) for layer in space.layers]
    for factor, cost in zip(factors, sums, strict=True):
        offset += factor * cost.offset
        for total, values in zip(unary, cost.unary, strict=True):
            total += factor * values
    own = theta[1 + len(sums) :]
    for value, occurrences in zip(own, owners, strict=True):
        for layer, index in occurrences:
            unary[layer][index] += float(value) * sums[0].unary[layer][index]
    joins = None
    if sums[0].joins is not None:
        join_totals = [np.zeros(len(join)) for join in sums[0].joins]
        for factor, cost in zip(factors, sums, strict=True):
            for total, join in zip(join_totals, cost.joins or (), strict=True):
                total += factor * np.where(np.isfinite(join), join, 0.0)
        allowed = [np.isfinite(join) for join in sums[0].joins]
        pairs = [_without_negatives(*parts) for parts in zip(join_totals, allowed, unary, strict=True)]
        joins, unary = tuple(join for join, _ in pairs), [values for _, values in pairs]
    return replace(sums[0], offset=offset, unary=tuple(unary), joins=joins, kind="calibrated")


def _without_negatives(join: Array, allowed: npt.NDArray[np.bool_], unary: Array) -> tuple[Array, Array]:
    """Return costs of joins and of branches that are not below 0 and have the same sums where possible.

    Savings by further branches are subtracted from the branches themselves. Only what would make a branch or a join
    negative is lost.

    Args:
        join: `(max_branches + 1,)` cost of joining 0, 1, ... branches.
        allowed: `(max_branches + 1,)` whether the number of branches is allowed.
        unary: `(candidates,)` cost of each branch.
    """
    counts = np.arange(len(join))
    slopes = [float(join[k] / k) for k in counts if k and allowed[k]]
    shift = min(0.0, *slopes)
    return (
        np.where(allowed, np.maximum(join - shift * counts, 0.0), np.inf),
        np.maximum(unary + shift, 0.0),
    )
