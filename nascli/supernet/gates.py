"""Choices learned by gradients through two candidates at a time (ProxylessNAS; Cai, Zhu and Han 2019, section 3.2).

Two candidates of each layer are drawn. The first is computed with its gradient, the second by value; the layer's
output is the first's, and the probability of either receives the product of its own output with the gradient of the
loss at the layer. So what a choice learns is how one candidate does against another, not how large its output is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.costmodel import ChainCost
from nascli.supernet.learned import frozen, learned_state, load_learned
from nascli.supernet.recipe import FitnessSettings
from nascli.supernet.regularisers import ExpectedCost
from nascli.supernet.supernet import Supernet

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


class PathChoice:
    """The choices of a single-path supernet, learned beside its weights.

    Args:
        supernet: single-path.
        cost: of the supernet's space; its expectation over the choices is kept down.
        limit: what the expected cost may be, in the cost's unit.
        settings: Adam's rate and the weight of the squared relative excess over the limit.
        seed: of the pairs and paths drawn.
    """

    def __init__(
        self, supernet: Supernet, cost: ChainCost, limit: float, settings: FitnessSettings, seed: int
    ) -> None:
        self.supernet = supernet
        self._expected = ExpectedCost(cost, scale=limit)
        self._weight = 1.0 if settings.weight is None else settings.weight
        self._seed = seed
        self.thetas = [
            torch.zeros(len(layer.candidates), requires_grad=True) for layer in supernet.space.layers
        ]
        self._optimizer = torch.optim.Adam(self.thetas, lr=settings.rate, betas=settings.betas)

    def path(self, step: int) -> list[int]:
        """The architecture of a weight step, drawn by the choices as they are."""
        rng = np.random.default_rng([self._seed, 81, step])
        return [first for first, _ in draw_pairs(self.thetas, rng)]

    def step(self, number: int, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update on a batch of validation images; returns cross-entropy and expected cost over the limit."""
        pairs = draw_pairs(self.thetas, np.random.default_rng([self._seed, 82, number]))
        self.supernet.train()
        with frozen(self.supernet):
            logits = paired_forward(list(self.supernet.blocks), images, pairs, self.thetas)
            loss = F.cross_entropy(logits, labels)
            demand = self._expected([torch.softmax(theta, 0) for theta in self.thetas])
            self._optimizer.zero_grad(set_to_none=True)
            (loss + self._weight * F.relu(demand - 1) ** 2).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach()), float(demand.detach())

    def scores(self) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
        """Per layer `(candidates,)` log-probabilities."""
        return [torch.log_softmax(theta.detach().double(), 0).numpy() for theta in self.thetas]

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed search needs, as tensors."""
        return learned_state(self.thetas, self._optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        load_learned(self.thetas, self._optimizer, tensors)
