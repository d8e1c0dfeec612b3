"""Architecture parameters learned by gradient beside a supernet's weights, two candidates at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError

_ADAM = ("step", "exp_avg", "exp_avg_sq")


@contextmanager
def frozen_weights(module: nn.Module) -> Iterator[None]:
    """The module's parameters get no gradients inside."""
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def learned_state(thetas: Sequence[Tensor], optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Values and Adam's moments, by name."""
    found: dict[str, Tensor] = {}
    for number, theta in enumerate(thetas):
        found[f"theta{number}"] = theta.detach().clone()
        found |= {f"adam{number}/{key}": value.clone() for key, value in optimizer.state[theta].items()}
    return found


def load_learned(thetas: Sequence[Tensor], optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    """Go on from `learned_state`."""
    for number, theta in enumerate(thetas):
        with torch.no_grad():
            theta.copy_(tensors[f"theta{number}"])
        for key in _ADAM:
            if f"adam{number}/{key}" in tensors:
                optimizer.state[theta][key] = tensors[f"adam{number}/{key}"].clone()


Pairs = Sequence[tuple[int, int]]


def mixed_output(first: Tensor, second: Tensor, chances: tuple[Tensor, Tensor]) -> Tensor:
    """The first output, with the gradients of both probabilities attached (NSE, Eq. 7)."""
    a, b = chances
    return first + (a - a.detach()) * first.detach() + (b - b.detach()) * second.detach()


def draw_pairs(thetas: Sequence[Tensor], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Per layer two different candidates, drawn by the softmax; twice the same where there is only one."""
    pairs = []
    for theta in thetas:
        p = torch.softmax(theta.detach().double(), 0).numpy()
        if len(p) == 1:
            pairs.append((0, 0))
            continue
        first = int(rng.choice(len(p), p=p / p.sum()))
        rest = np.delete(np.arange(len(p)), first)
        # A candidate may be all but certain; then the others are drawn as they stand to each other.
        left = np.maximum(p[rest], 1e-12)
        pairs.append((first, int(rng.choice(rest, p=left / left.sum()))))
    return pairs


def paired_forward(blocks: Sequence[nn.Module], x: Tensor, pairs: Pairs, thetas: Sequence[Tensor]) -> Tensor:
    """The output along the first of each pair, with the gradients of the choices attached.

    Args:
        blocks: in evaluation order; a `ModuleList` is a layer of candidates.
        x: `(batch, channels, height, width)`.
        pairs: per layer of candidates.
        thetas: per layer `(candidates,)` logits of the choice.
    """
    layers = iter(zip(pairs, thetas, strict=True))
    for block in blocks:
        if not isinstance(block, nn.ModuleList):
            x = block(x)
            continue
        (a, b), theta = next(layers)
        first = block[a](x)
        if a != b:
            with torch.no_grad():
                second = block[b](x)
            chances = torch.softmax(torch.stack([theta[a], theta[b]]), 0)
            first = mixed_output(first, second, (chances[0], chances[1]))
        x = first
    return x


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
