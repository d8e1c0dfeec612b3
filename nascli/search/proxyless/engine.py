"""Choices learned by gradients through two candidates at a time (ProxylessNAS; Cai, Zhu and Han 2019, section 3.2).

Two candidates of each layer are drawn. The first is computed with its gradient, the second by value; the layer's
output is the first's, and the probability of either receives the product of its own output with the gradient of the
loss at the layer. So what a choice learns is how one candidate does against another, not how large its output is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.costmodel import ChainCost
from nascli.supernet.differentiable import (
    ExpectedCost,
    draw_pairs,
    frozen,
    learned_state,
    load_learned,
    paired_forward,
)
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import FitnessSettings


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
