"""Differentiable resource terms for gradient search, from the same chain costs that bound it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError


class ExpectedCost:
    """The expectation of a chain cost under independent choices per layer.

    Single-path layers have a probability per candidate; multi-branch layers one per branch, each branch
    taken on its own (NSE). In the cost's SI unit divided by `scale`.
    """

    def __init__(self, cost: ChainCost, *, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        self._multi_branch = cost.joins is not None
        self._offset = cost.offset / scale
        self._unary = [torch.tensor(values / scale, dtype=dtype) for values in cost.unary]
        self._pairs = [torch.tensor(values / scale, dtype=dtype) for values in cost.pairwise or ()]
        # A number of branches that is not allowed is never drawn; its cost does not matter.
        self._joins = [
            torch.nan_to_num(torch.tensor(values / scale, dtype=dtype), posinf=0.0)
            for values in cost.joins or ()
        ]

    def __call__(self, probabilities: Sequence[Tensor]) -> Tensor:
        """The expected cost, a scalar.

        Args:
            probabilities: per layer `(candidates,)`; of single-path layers each sums to 1.

        Raises:
            ConstraintError: another number of layers than the cost has.
        """
        if len(probabilities) != len(self._unary):
            raise ConstraintError(
                f"{len(self._unary)} layers have costs, got {len(probabilities)} probabilities"
            )
        total = torch.zeros((), dtype=self._unary[0].dtype) + self._offset
        for p, values in zip(probabilities, self._unary, strict=True):
            total = total + p @ values
        for before, after, values in zip(probabilities, probabilities[1:], self._pairs, strict=False):
            total = total + before @ values @ after
        for p, join in zip(probabilities, self._joins, strict=False):
            total = total + _expected_join(p, join)
        return total


def _expected_join(p: Tensor, join: Tensor) -> Tensor:
    """E[join(K)] where K counts independent branches; more than `most` count as `most`."""
    chances = [torch.ones((), dtype=p.dtype), *(torch.zeros((), dtype=p.dtype) for _ in range(len(join) - 1))]
    for take in p:
        moved = [chances[0] * (1 - take)]
        for k in range(1, len(chances)):
            stays = chances[k] if k == len(chances) - 1 else chances[k] * (1 - take)
            moved.append(stays + chances[k - 1] * take)
        chances = moved
    return torch.stack(chances) @ join


def configuration_probability(p: Tensor, gates: Tensor) -> Tensor:
    """The probability of one configuration of Bernoulli gates (NSE, Eq. 4)."""
    return torch.prod(gates * p + (1 - gates) * (1 - p))


def branch_probability(theta: Tensor) -> Tensor:
    """The probability of a branch, kept away from 0 and 1 as in the authors' code."""
    return 0.999 * torch.sigmoid(theta) + 0.0005


def renormalised(theta: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The probabilities of two configurations, scaled to add up to 1."""
    p = branch_probability(theta)
    a, b = configuration_probability(p, first), configuration_probability(p, second)
    return a / (a + b), b / (a + b)


def pair_cost(
    thetas: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor], cost: ChainCost
) -> Tensor:
    """NSE's resource demand from two sampled configurations per layer (Eq. 8, without tau).

    Args:
        thetas: per layer `(candidates,)` fitness indicators.
        first: per layer the gates (0 or 1) of configuration a.
        second: per layer the gates of configuration b.
        cost: what an operation costs, plainly summed over the branches of a configuration.

    Returns:
        offset + sum over layers of p_a C(o_a) + p_b C(o_b), with p_a + p_b = 1 in each layer.
    """
    total = torch.zeros((), dtype=thetas[0].dtype) + cost.offset
    joins = cost.joins or [None] * len(thetas)
    for theta, a, b, values, join in zip(thetas, first, second, cost.unary, joins, strict=True):
        chance_a, chance_b = renormalised(theta, a, b)
        costs = torch.tensor(values, dtype=theta.dtype)
        spent = []
        for gates in (a, b):
            extra = 0.0 if join is None else float(join[int(gates.sum())])
            spent.append(gates @ costs + extra)
        total = total + chance_a * spent[0] + chance_b * spent[1]
    return total


def power_penalty(demand: Tensor, target: float, *, alpha: float, beta: float = 2.0) -> Tensor:
    """alpha * |demand - target| ** beta (NSE, Eq. 5; published with beta = 2)."""
    return alpha * (demand - target).abs() ** beta
