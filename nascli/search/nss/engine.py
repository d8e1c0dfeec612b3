"""Network Space Search: a distribution over spaces learns beside a masked supernet, and an Elite Space is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.costmodel import counted
from nascli.costmodel.staged_costs import StagedCost, staged_macs
from nascli.progress import Progress
from nascli.random_streams import generator
from nascli.search.nss.search import (
    Bins,
    choose_elite_space,
    describe_elite_space,
    mean_cost,
    require_reachable,
)
from nascli.search.nss.settings import NssSettings, NssStream
from nascli.spaces.builtin.network_spaces import format_ranges
from nascli.spaces.catalog import make_space
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.batches import EndlessBatches
from nascli.supernet.data.images import Images
from nascli.supernet.differentiable import frozen_weights, learned_state, load_learned_state
from nascli.supernet.masked import Gates, MaskedSupernet
from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer


def mixture_cost(cost: StagedCost, stages: Sequence[tuple[Gates, Gates]]) -> Tensor:
    """Return the cost of a network whose depths and widths are mixtures, differentiable by their gates.

    Args:
        cost: A cost of the staged space, in the closed form of `StagedSpace.features`.
        stages: Per stage the depths with their gates, and the widths with theirs.
    """
    space = cost.space
    height, width = space.input.height, space.input.width
    total = torch.tensor(cost.constant)
    before = torch.tensor(float(space.stem))
    for stride, weights, ((depths, depth_gates), (widths, width_gates)) in zip(
        space.strides, cost.weights, stages, strict=False
    ):
        depth = depth_gates @ torch.tensor(depths, dtype=torch.float32)
        channels = width_gates @ torch.tensor(widths, dtype=torch.float32)
        height, width = -(-height // stride), -(-width // stride)
        first = 9 * before * channels + 9 * channels**2 + before * channels
        macs = height * width * (first + (depth - 1) * 18 * channels**2)
        written = height * width * 2 * depth * channels
        total = total + weights[0] * macs + weights[1] * depth + weights[2] * written
        before = channels
    return total + cost.weights[-1][0] * before * space.classes


class SpaceDistribution:
    """Per stage a categorical distribution over bins of depths and one over bins of widths, learned by gradient.

    Args:
        supernet: A supernet of the staged space.
        settings: The sizes of the bins, the weight of |cost / target - 1| (Eq. 4 and 5), the rate of Adam, and the
            temperatures.
        target: The cost that networks shall have on average.
        cost: A cost of the staged space.
        seed: The seed of all draws.

    Attributes:
        supernet: The supernet.
        thetas: Per stage the `(bins,)` logits of depths, and those of widths.
    """

    def __init__(
        self, supernet: MaskedSupernet, settings: NssSettings, *, target: float, cost: StagedCost, seed: int
    ) -> None:
        self.supernet = supernet
        self._settings, self._target, self._cost, self._seed = settings, target, cost, seed
        space = supernet.space
        self._bin_sizes = (settings.depth_bin, settings.width_bin)
        counts = (space.depths // settings.depth_bin, space.widths // settings.width_bin)
        self.thetas = [torch.zeros(count, requires_grad=True) for _ in space.strides for count in counts]
        self._optimizer = torch.optim.Adam(self.thetas, lr=settings.rate)

    def probabilities(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return per stage the `(bins,)` probabilities of the bins of depths, and of those of widths."""
        rows = [torch.softmax(theta.detach(), 0).double().numpy() for theta in self.thetas]
        return list(zip(rows[::2], rows[1::2], strict=True))

    def draw(self, step: int, uniform: bool) -> list[int]:
        """Draw the architecture that trains the weights at a step, uniformly inside a drawn space (Eq. 3).

        Args:
            step: The number of the step.
            uniform: Whether the space is drawn uniformly instead of by the distribution, as in the warm-up.

        Returns:
            Depth and width of each stage, both counted from 0.
        """
        rng = generator(self._seed, NssStream.PATHS, step)
        architecture = []
        for index, theta in enumerate(self.thetas):
            size = self._bin_sizes[index % 2]
            p = torch.softmax(theta.detach(), 0).double().numpy()
            number = int(rng.integers(len(p))) if uniform else int(rng.choice(len(p), p=p / p.sum()))
            architecture.append(number * size + int(rng.integers(size)))
        return architecture

    def step(
        self, number: int, share: float, images: Tensor, labels: Tensor, *, weight: float = 1.0
    ) -> tuple[float, float]:
        """Update the distribution once, by Gumbel-softmax with a straight-through gradient.

        Args:
            number: The number of the step, which decides the noise.
            share: How much of the learning is over, from 0 to 1; the temperature falls with it.
            images: `(batch, channels, height, width)` validation images.
            labels: `(batch,)` their classes.
            weight: Factor of the loss, where this process has a part of the batch; see `EndlessBatches`.

        Returns:
            The cross-entropy, and the cost of the mixture.
        """
        rng = generator(self._seed, NssStream.GATES, number)
        first, last = self._settings.first, self._settings.last
        temperature = first * (last / first) ** share
        gated: list[Gates] = []
        for index, theta in enumerate(self.thetas):
            size = self._bin_sizes[index % 2]
            noise = torch.from_numpy(rng.gumbel(size=len(theta)).astype(np.float32))
            soft = torch.softmax((theta + noise) / temperature, 0)
            hard = F.one_hot(soft.argmax(), len(theta)).float()
            members = [bin_ * size + int(rng.integers(size)) + 1 for bin_ in range(len(theta))]
            gated.append((members, hard + soft - soft.detach()))
        stages = list(zip(gated[::2], gated[1::2], strict=True))
        with frozen_weights(self.supernet):
            loss = F.cross_entropy(self.supernet.mixture(images, stages), labels)
            cost = mixture_cost(self._cost, stages)
            self._optimizer.zero_grad(set_to_none=True)
            cost_term = self._settings.weight * (cost / self._target - 1).abs()
            (weight * loss.cpu() + cost_term).backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.thetas)
        self._optimizer.step()
        return float(loss.detach()), float(cost.detach())

    def state(self) -> dict[str, Tensor]:
        """Return everything that a resumed search needs, as tensors by name."""
        return learned_state(self.thetas, self._optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        load_learned_state(self.thetas, self._optimizer, tensors)


@dataclass(frozen=True)
class EliteSpace:
    """The result of Network Space Search.

    Attributes:
        chosen: Per stage the bin of depths and the bin of widths.
        bins: The sizes of the bins, and the staged space.
        cost: The cost whose mean was aimed at.
        mean: The mean cost of its networks.
        probabilities: Per stage the probabilities of the bins of depths, and of those of widths.
    """

    chosen: tuple[tuple[int, int], ...]
    bins: Bins
    cost: StagedCost
    mean: float
    probabilities: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

    @property
    def ranges_text(self) -> str:
        """The ranges as text, as the space nss-elite takes them."""
        return format_ranges(self.bins.ranges(self.chosen))

    def chain(self) -> Space:
        """Return the space of layers that the other algorithms search."""
        space = self.bins.space
        return make_space(
            "nss-elite",
            ranges=self.ranges_text,
            resolution=space.input.height,
            classes=space.classes,
            channels=space.input.channels,
            stem=space.stem,
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON document."""
        return {
            "space": self.bins.space.spec,
            "chosen": [list(pair) for pair in self.chosen],
            "ranges": self.ranges_text,
            "cost": self.cost.name,
            "mean_cost": self.mean,
            # The space of layers has other depths and widths than the ranges, and so another mean.
            "chain_mean_macs": _mean_macs(self.chain()),
            "probabilities": [[list(depths), list(widths)] for depths, widths in self.probabilities],
        }


def _mean_macs(space: Space) -> float:
    return float(counted(space, "macs")(space.sample(2000, np.random.default_rng(0))).mean())


def learn_elite_space(
    space: StagedSpace,
    images: Images,
    target: float,
    settings: NssSettings,
    recipe: Recipe,
    *,
    seed: int,
    file: Path | None,
    progress: Progress,
    cost: StagedCost | None = None,
) -> EliteSpace:
    """Train the masked supernet and the distribution over spaces, and draw the Elite Space.

    Weights step on training images, along architectures drawn uniformly from drawn spaces. After the warm-up, the
    distribution steps on validation images at every second step. Killed at any step, the training resumes from `file`.

    Args:
        space: The staged space.
        images: The data; the distribution learns from its validation part.
        target: The cost that networks of the Elite Space shall have on average.
        settings: The hyper-parameters.
        recipe: The recipe of the weights.
        seed: The seed of all random streams.
        file: The checkpoint; None keeps none.
        progress: Reports how far the training is.
        cost: The cost of networks: MACs by default, or latency, which the paper leaves for later.

    Raises:
        InfeasibleError: The target is outside the range of the space, or no drawn space has networks within it.
        TrainingError: The loss is not finite.
        CheckpointError: The checkpoint belongs to other settings.
    """
    cost = staged_macs(space) if cost is None else cost
    require_reachable(cost, target)
    bins = Bins(space, settings.depth_bin, settings.width_bin)
    torch.manual_seed(seed)
    supernet = MaskedSupernet(space)
    distribution = SpaceDistribution(supernet, settings, target=target, cost=cost, seed=seed)

    batches = EndlessBatches(
        images.validation, recipe.batch, seed=seed, stream=NssStream.VALIDATION_ORDER, share=True
    )

    def is_warmup(step: int) -> bool:
        return step < settings.warmup * trainer.steps

    def after(step: int) -> None:
        if step % 2 and not is_warmup(step):
            share = (step / trainer.steps - settings.warmup) / (1 - settings.warmup)
            distribution.step(step, share, *batches.at(step // 2), weight=batches.weight)

    trainer = Trainer(
        supernet,
        images.train,
        recipe,
        seed=seed,
        path_of_step=lambda step: distribution.draw(step, is_warmup(step)),
        on_step_end=after,
        companion=distribution,
    )
    identity = settings_digest("nss-2", space.spec, images.digest, recipe, settings, seed, target, cost)
    trainer.run(file, identity, progress, f"searching for a space within {space.spec}")
    return _draw_elite_space(bins, distribution, target, settings.drawn, cost, seed, progress)


def _draw_elite_space(
    bins: Bins,
    distribution: SpaceDistribution,
    target: float,
    drawn: int,
    cost: StagedCost,
    seed: int,
    progress: Progress,
) -> EliteSpace:
    """Choose the Elite Space among spaces drawn from the learned distribution, and report it."""
    rng = generator(seed, NssStream.ELITE_SPACES)
    probabilities = distribution.probabilities()
    chosen = choose_elite_space(bins, probabilities, target, drawn, rng, cost)
    progress.message(describe_elite_space(bins, chosen, cost, target))
    return EliteSpace(
        chosen,
        bins,
        cost,
        mean_cost(cost, bins, chosen, rng),
        tuple((tuple(map(float, depths)), tuple(map(float, widths))) for depths, widths in probabilities),
    )
