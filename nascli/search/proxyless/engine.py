"""Choices learned by gradients through two candidates at a time (ProxylessNAS; Cai, Zhu and Han 2019, section 3.2).

Two candidates of each layer are drawn. The first is computed with its gradient, the second by value; the layer's
output is the first's, and the probability of either receives the product of its own output with the gradient of the
loss at the layer. So what a choice learns is how one candidate does against another, not how large its output is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.costmodel import BoundedCost, ChainCost
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.proxyless.settings import ProxylessStream
from nascli.spaces.space import Population, Space
from nascli.supernet.data.batches import endless_batch
from nascli.supernet.data.images import Images
from nascli.supernet.differentiable import (
    ExpectedCost,
    draw_pairs,
    frozen_weights,
    learned_state,
    load_learned,
    paired_forward,
)
from nascli.supernet.evaluation.prefix_tree import validation_accuracies
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe
from nascli.supernet.training.trainer import Trainer, settings_digest

Array = npt.NDArray[np.float64]


class PathDistribution:
    """The choices of a single-path supernet, learned beside its weights.

    Args:
        supernet: single-path.
        cost: of the supernet's space; its expectation over the choices is kept down.
        limit: what the expected cost may be, in the cost's unit.
        settings: Adam's rate and the weight of the squared relative excess over the limit.
        seed: of the pairs and paths drawn.
    """

    def __init__(
        self,
        supernet: Supernet,
        cost: ChainCost,
        limit: float,
        settings: ArchitectureParameterSettings,
        seed: int,
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
        rng = generator(self._seed, ProxylessStream.PATHS, step)
        return [first for first, _ in draw_pairs(self.thetas, rng)]

    def step(self, number: int, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update on a batch of validation images; returns cross-entropy and expected cost over the limit."""
        pairs = draw_pairs(self.thetas, generator(self._seed, ProxylessStream.CANDIDATE_PAIRS, number))
        self.supernet.train()
        with frozen_weights(self.supernet):
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


class ProxylessEngine:
    """A single-path supernet whose choices are learned by gradient (ProxylessNAS).

    Args:
        space: single-path.
        images: data; choices learn from its validation part.
        recipe: how weights train.
        gates: how choices learn.
        target: the budget whose upper bound the expected cost is kept to.
        seed: of everything.
        file: the checkpoint; None keeps nothing.
        progress: is shown the training.
    """

    def __init__(
        self,
        space: Space,
        images: Images,
        recipe: Recipe,
        gates: ArchitectureParameterSettings,
        target: BoundedCost,
        *,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        torch.manual_seed(seed)
        self.supernet = Supernet(space)
        self._images, self._file, self._progress = images, file, progress
        choice = PathDistribution(self.supernet, target.cost, target.constraint.high, gates, seed)

        def path(step: int) -> Sequence[int]:
            if step < gates.start * trainer.steps:
                return space.sample(1, generator(seed, ProxylessStream.UNIFORM_PATHS, step))[0].tolist()  # type: ignore[no-any-return]
            return choice.path(step)

        def after(step: int) -> None:
            if step % 2 and step >= gates.start * trainer.steps:
                batch = endless_batch(
                    images.validation,
                    recipe.batch,
                    step // 2,
                    seed=seed,
                    stream=ProxylessStream.VALIDATION_ORDER,
                )
                choice.step(step, *batch)

        trainer = Trainer(
            self.supernet, images.train, recipe, seed=seed, path=path, after=after, beside=choice
        )
        self._trainer, self._choice = trainer, choice
        self._identity = settings_digest(
            "proxyless-1", space.digest, images.digest, recipe, gates, seed, str(target.constraint)
        )

    def train(self) -> list[Array]:
        """Train to the end; returns per layer the `(candidates,)` log-probabilities."""
        title = f"training {self.supernet.space.name} with its choices"
        self._trainer.run(self._file, self._identity, self._progress, title)
        return list(self._choice.scores())

    def accuracies(self, codes: Population, calibration: int = 256) -> Array:
        """`(n,)` top-1 on the validation part."""
        self._progress.start("evaluating the most probable networks", len(codes))
        return validation_accuracies(self.supernet, self._images, codes, calibration, self._progress.advance)
