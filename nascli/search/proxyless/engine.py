"""The supernet of ProxylessNAS, whose candidates' probabilities are learned by gradient beside the weights.

The gradient passes through two candidates at a time (Cai, Zhu and Han 2019, section 3.2). Two candidates of each layer
are drawn. The output of the layer is that of the first; the second is computed without its gradient. The probability
of either receives the product of its own output with the gradient of the loss at the layer. So a probability learns
how one candidate does against another, not how large its output is.
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
from nascli.supernet.data.batches import EndlessBatches
from nascli.supernet.data.images import Images
from nascli.supernet.differentiable import (
    ExpectedCost,
    draw_pairs,
    frozen_weights,
    learned_state,
    load_learned_state,
    paired_forward,
)
from nascli.supernet.evaluation.prefix_tree import validation_accuracies
from nascli.supernet.separate import Supernet
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe
from nascli.supernet.training.trainer import Trainer

Array = npt.NDArray[np.float64]


class PathDistribution:
    """A categorical distribution over the candidates of each layer, learned beside the weights of a supernet.

    Args:
        supernet: A single-path supernet.
        cost: A cost of the supernet's space; its expectation over the distribution is kept below the limit.
        limit: The upper bound of the expected cost, in the unit of the cost.
        settings: The rate and momenta of Adam, and the weight of the squared relative excess over the limit.
        seed: The seed of the pairs and paths that are drawn.

    Attributes:
        supernet: The supernet.
        thetas: Per layer `(candidates,)` logits.
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
        """Draw the architecture that trains the weights at a step."""
        rng = generator(self._seed, ProxylessStream.PATHS, step)
        return [first for first, _ in draw_pairs(self.thetas, rng)]

    def step(
        self, number: int, images: Tensor, labels: Tensor, *, weight: float = 1.0
    ) -> tuple[float, float]:
        """Update the distribution once.

        Args:
            number: The number of the step, which decides the pairs of candidates.
            images: `(batch, channels, height, width)` validation images.
            labels: `(batch,)` their classes.
            weight: Factor of the loss, where this process has a part of the batch; see `EndlessBatches`.

        Returns:
            The cross-entropy, and the expected cost over the limit.
        """
        pairs = draw_pairs(self.thetas, generator(self._seed, ProxylessStream.CANDIDATE_PAIRS, number))
        self.supernet.train()
        with frozen_weights(self.supernet):
            logits = paired_forward(list(self.supernet.blocks), images, pairs, self.thetas)
            loss = F.cross_entropy(logits, labels)
            relative_cost = self._expected([torch.softmax(theta, 0) for theta in self.thetas])
            self._optimizer.zero_grad(set_to_none=True)
            (weight * loss.cpu() + self._weight * F.relu(relative_cost - 1) ** 2).backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.thetas)
        self._optimizer.step()
        return float(loss.detach()), float(relative_cost.detach())

    def log_probabilities(self) -> list[Array]:
        """Return the logarithms of the probabilities, `(candidates,)` per layer."""
        return [torch.log_softmax(theta.detach().double(), 0).numpy() for theta in self.thetas]

    def state(self) -> dict[str, Tensor]:
        """Return everything that a resumed search needs, as tensors by name."""
        return learned_state(self.thetas, self._optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        load_learned_state(self.thetas, self._optimizer, tensors)


class ProxylessEngine:
    """A single-path supernet, trained together with the probabilities of its candidates.

    Weights step on training images along one architecture. Every second step, the probabilities step on validation
    images. For the first share `settings.start` of the training, architectures are drawn uniformly and the
    probabilities stay equal.

    Args:
        space: A single-path space.
        images: The data; the probabilities learn from its validation part.
        recipe: The recipe of the weights.
        settings: How the probabilities are learned.
        target: The cost that is kept down, with its upper bound.
        seed: The seed of all random streams.
        file: The checkpoint; None keeps none.
        progress: Reports how far the training is.

    Raises:
        TrainingError: The loss is not finite.
        CheckpointError: The checkpoint belongs to other settings.
    """

    def __init__(
        self,
        space: Space,
        images: Images,
        recipe: Recipe,
        settings: ArchitectureParameterSettings,
        target: BoundedCost,
        *,
        seed: int,
        file: Path | None,
        progress: Progress,
    ) -> None:
        torch.manual_seed(seed)
        self.supernet = Supernet(space)
        self._images, self._file, self._progress = images, file, progress
        distribution = PathDistribution(self.supernet, target.cost, target.constraint.high, settings, seed)

        batches = EndlessBatches(
            images.validation, recipe.batch, seed=seed, stream=ProxylessStream.VALIDATION_ORDER, share=True
        )

        def path(step: int) -> Sequence[int]:
            if step < settings.start * trainer.steps:
                return space.sample(1, generator(seed, ProxylessStream.UNIFORM_PATHS, step))[0].tolist()  # type: ignore[no-any-return]
            return distribution.path(step)

        def after(step: int) -> None:
            if step % 2 and step >= settings.start * trainer.steps:
                distribution.step(step, *batches.at(step // 2), weight=batches.weight)

        trainer = Trainer(
            self.supernet,
            images.train,
            recipe,
            seed=seed,
            path_of_step=path,
            on_step_end=after,
            companion=distribution,
        )
        self._trainer, self._distribution = trainer, distribution
        self._identity = settings_digest(
            "proxyless-1", space.digest, images.digest, recipe, settings, seed, str(target.constraint)
        )

    def train(self) -> list[Array]:
        """Train to the end, and return the log-probabilities, `(candidates,)` per layer."""
        title = f"training {self.supernet.space.name} with its choices"
        self._trainer.run(self._file, self._identity, self._progress, title)
        return self._distribution.log_probabilities()

    def accuracies(self, population: Population, calibration: int = 256) -> Array:
        """Evaluate `(n, layers)` architectures with inherited weights.

        Args:
            population: The architectures.
            calibration: The number of training images on which normalisation statistics are recalculated.

        Returns:
            `(n,)` top-1 on the validation part, between 0 and 1.
        """
        self._progress.start("evaluating the most probable networks", len(population))
        return validation_accuracies(
            self.supernet, self._images, population, calibration, self._progress.advance
        )
