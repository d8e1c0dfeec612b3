"""Calibrating a sum of operators on whole networks: a chain again, with intervals that were checked.

The model is a Bayesian linear regression of the measured seconds y on a few sums and on each operator's own
term, in relative errors:

    y(a) = c0 + alpha * in_context(a) + beta * alone(a) + gamma * weight_bytes(a) + sum_l d[l, a_l]

(of a multi-branch space also + delta * branches(a)),

with priors centred on the plain sum (c0 = 0, alpha = 1, everything else 0) and d[l, o] of a size in
proportion to the operator's own latency. How far the data may pull it from there is chosen by leave-one-out
errors, which a linear regression has in closed form; the same errors give the interval (conformal, with
leave-one-out residuals in the place of a second set of networks: Barber et al. 2021, jackknife).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError
from nascli.spaces.space import Population, Space

Array = npt.NDArray[np.float64]
MIN_NETWORKS = 8
# Prior widths that are tried: of the common factors, and of each operator's own term, both relative.
_COMMON, _OWN, _NOISE = (0.02, 0.1, 0.4), (0.0, 0.03, 0.1, 0.3), (0.003, 0.01, 0.03)
_ABOUT_AS_WELL = 1.15
# A network whose error is this many times the typical one contradicts the others.
_OUTLYING = 6.0


@dataclass(frozen=True)
class Calibration:
    """A calibrated cost, and how sure it is.

    Attributes:
        cost: the chain; its kind is 'calibrated'.
        errors: `(n,)` relative leave-one-out errors, predicted over measured, of what it was fitted on.
        plain_errors: `(n,)` those of the plain sum.
        fitted: the least and the most seconds that it was fitted on.
        contradicting: codes of networks that the others contradict.
    """

    cost: ChainCost
    errors: Array
    plain_errors: Array
    fitted: tuple[float, float]
    contradicting: tuple[tuple[int, ...], ...]

    def half_width(self, confidence: float) -> float:
        """Half of the relative interval that holds the measured figure with that confidence.

        Raises:
            ConstraintError: more confidence than so few networks can give.
        """
        n = len(self.errors)
        rank = int(np.ceil((n + 1) * confidence))
        if not 0 < confidence < 1 or rank > n:
            raise ConstraintError(
                f"{n} networks give intervals of at most {n / (n + 1):.0%} confidence, not {confidence:.0%}.",
                "Calibrate on more: nascli calibrate --networks 40",
            )
        # Errors are relative to the measured figure; the interval is around the predicted one.
        off = np.sort(np.abs(1 / (1 + self.errors) - 1))
        return float(off[rank - 1])

    def extrapolates(self, seconds: float) -> bool:
        """Whether a prediction lies outside of what was fitted."""
        low, high = self.fitted
        return not low <= seconds <= high


def spread_codes(space: Space, cost: ChainCost, count: int, rng: np.random.Generator) -> Population:
    """Architectures that cover a space: its cheapest, its most expensive, some evenly between, and half at random.

    Most networks lie near the middle of a space's range, where evenly spread ones are few; the random half is
    there, so that the fit is best where searches look.

    Returns:
        `(count, layers)` codes.

    Raises:
        ConstraintError: fewer than two.
    """
    from nascli.costmodel.constraints import Constraint
    from nascli.costmodel.feasible import BoundedCost, FeasibleSet, best
    from nascli.errors import InfeasibleError

    if count < 2:
        raise ConstraintError(f"at least 2 networks are needed to cover a space, got {count}")
    everything = FeasibleSet(space, [])
    rows = [best(everything, [sign * values for values in cost.unary]) for sign in (-1, 1)]
    edges = np.linspace(cost.minimum, cost.maximum, max(2, (count + 1) // 2))
    for low, high in itertools.pairwise(edges):
        try:
            feasible = FeasibleSet(space, [BoundedCost(Constraint(cost.name, float(low), float(high)), cost)])
        except InfeasibleError:
            # A small space has gaps; a draw from all of it takes the place.
            rows.append(space.sample(1, rng)[0])
        else:
            rows.append(feasible.sample(1, rng)[0])
    rows += list(space.sample(max(0, count - len(rows)), rng))
    return np.array(rows[:count], dtype=space.dtype)


def calibrate(
    space: Space, sums: Sequence[ChainCost], codes: Population, seconds: npt.ArrayLike
) -> Calibration:
    """Fit the chain to whole networks.

    Args:
        space: what the codes belong to.
        sums: the plain sum that is believed at first, then others that may help (alone, weight bytes).
        codes: `(n, layers)` architectures that were measured.
        seconds: `(n,)` their measured latency.

    Raises:
        ConstraintError: too few networks, or times that are no latencies.
    """
    y = np.asarray(seconds, dtype=float)
    if len(y) != len(codes) or len(y) < MIN_NETWORKS:
        raise ConstraintError(
            f"calibration needs at least {MIN_NETWORKS} measured networks with their codes, got {len(y)} "
            f"figures of {len(codes)} networks.",
            "Measure some: nascli calibrate",
        )
    if not np.all(np.isfinite(y) & (y > 0)):
        raise ConstraintError("calibration needs latencies that are finite and above 0")
    plain = sums[0](codes)
    common = np.stack([np.full(len(y), np.median(y)), *_scaled(sums, codes, np.median(plain))], axis=1)
    own, owners = _own_terms(space, sums[0], codes)
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
    least = min(score for score, _, _ in fits)
    # All that fit about as well, together: which is best of all is up to the noise of so few networks.
    good = [fit for fit in fits if fit[0] <= _ABOUT_AS_WELL * least]
    theta = np.mean([fit[1] for fit in good], axis=0)
    left_out = np.mean([fit[2] for fit in good], axis=0)
    typical = float(np.median(np.abs(left_out)))
    contradicting = np.flatnonzero(np.abs(left_out) > _OUTLYING * max(typical, 1e-3))
    return Calibration(
        cost=_chain(space, sums, theta, owners, float(np.median(y)), float(np.median(plain)), codes),
        errors=-left_out,
        plain_errors=plain / y - 1,
        fitted=(float(y.min()), float(y.max())),
        contradicting=tuple(tuple(int(c) for c in codes[i]) for i in contradicting),
    )


def _scaled(sums: Sequence[ChainCost], codes: Population, typical: float) -> list[Array]:
    """Every sum as an array; those after the first in units that make them as large as the first."""
    found = [sums[0](codes)]
    for other in sums[1:]:
        values = other(codes)
        found.append(values * typical / max(float(np.median(values)), 1e-30))
    return found


def _own_terms(
    space: Space, cost: ChainCost, codes: Population
) -> tuple[Array, list[tuple[str, list[tuple[int, int]]]]]:
    """A column per distinct operator: how many seconds of a network are its. And where each may occur."""
    columns: dict[str, int] = {}
    owners: list[tuple[str, list[tuple[int, int]]]] = []
    matrix: list[Array] = []
    for layer, choices in enumerate(space.layers):
        for index, candidate in enumerate(choices.candidates):
            key = candidate.program.canonical
            if key not in columns:
                columns[key] = len(owners)
                owners.append((key, []))
                matrix.append(np.zeros(len(codes)))
            owners[columns[key]][1].append((layer, index))
            column = codes[:, layer]
            taken = column == index if choices.join == "single" else column >> index & 1
            matrix[columns[key]] += np.where(taken, cost.unary[layer][index], 0.0)
    return np.stack(matrix, axis=1), owners


def _chain(
    space: Space,
    sums: Sequence[ChainCost],
    theta: Array,
    owners: Sequence[tuple[str, list[tuple[int, int]]]],
    typical_y: float,
    typical_plain: float,
    codes: Population,
) -> ChainCost:
    factors = [float(theta[1])]
    for other, coefficient in zip(sums[1:], theta[2:], strict=False):
        median = max(float(np.median(other(codes))), 1e-30)
        factors.append(float(coefficient) * typical_plain / median)
    offset = float(theta[0]) * typical_y
    unary = [np.zeros(len(layer.candidates)) for layer in space.layers]
    for factor, cost in zip(factors, sums, strict=True):
        offset += factor * cost.offset
        for total, values in zip(unary, cost.unary, strict=True):
            total += factor * values
    own = theta[1 + len(sums) :]
    for value, (_, places) in zip(own, owners, strict=True):
        for layer, index in places:
            unary[layer][index] += float(value) * sums[0].unary[layer][index]
    joins = None
    if sums[0].joins is not None:
        together = [np.zeros(len(join)) for join in sums[0].joins]
        for factor, cost in zip(factors, sums, strict=True):
            for total, join in zip(together, cost.joins or (), strict=True):
                total += factor * np.where(np.isfinite(join), join, 0.0)
        allowed = [np.isfinite(join) for join in sums[0].joins]
        pairs = [_shifted(*parts) for parts in zip(together, allowed, unary, strict=True)]
        joins, unary = tuple(join for join, _ in pairs), [values for _, values in pairs]
    return replace(sums[0], offset=offset, unary=tuple(unary), joins=joins, kind="calibrated")


def _shifted(join: Array, allowed: npt.NDArray[np.bool_], unary: Array) -> tuple[Array, Array]:
    """Join costs and branch costs that are not below 0, with the same sums.

    What each further branch saves is taken off the branches themselves; only what would leave a branch or a
    join below nothing is lost.
    """
    counts = np.arange(len(join))
    slopes = [float(join[k] / k) for k in counts if k and allowed[k]]
    shift = min(0.0, *slopes)
    return (
        np.where(allowed, np.maximum(join - shift * counts, 0.0), np.inf),
        np.maximum(unary + shift, 0.0),
    )
