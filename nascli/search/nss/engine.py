"""Network Space Search: the masked supernet trains beside a distribution over spaces, and an Elite Space is drawn."""

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
from nascli.search.nss.search import Bins, describe_elite_space, elite, mean_cost, require_reachable
from nascli.search.nss.settings import NssSettings, NssStream
from nascli.spaces.builtin.network_spaces import format_ranges
from nascli.spaces.catalog import make_space
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.batches import endless_batch
from nascli.supernet.data.images import Images
from nascli.supernet.differentiable import frozen_weights, learned_state, load_learned_state
from nascli.supernet.masked import Gates, MaskedSupernet
from nascli.supernet.training.checkpoint import settings_digest
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer


def mixture_cost(cost: StagedCost, stages: Sequence[tuple[Gates, Gates]]) -> Tensor:
    """Cost of the gated mixture's depths and widths, in the closed form of `StagedSpace.features`; differentiable."""
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
    """Per stage a categorical over bins of depths and one over bins of widths, learned by gradient.

    Args:
        supernet: of the staged space.
        depth_bin, width_bin: sizes of the bins.
        target: what is aimed at, in the cost's unit.
        cost: MACs, or latency.
        weight: of |cost / target - 1| (Eq. 4 and 5).
        rate: of Adam.
        temperatures: at the beginning and at the end.
        seed: of all draws.
    """

    def __init__(
        self,
        supernet: MaskedSupernet,
        depth_bin: int,
        width_bin: int,
        *,
        target: float,
        cost: StagedCost,
        weight: float,
        rate: float,
        temperatures: tuple[float, float],
        seed: int,
    ) -> None:
        self.supernet = supernet
        space = supernet.space
        self._bins = (depth_bin, width_bin)
        self._cost = cost
        self._target, self._weight, self._temperatures, self._seed = target, weight, temperatures, seed
        sizes = (space.depths // depth_bin, space.widths // width_bin)
        self.thetas = [torch.zeros(size, requires_grad=True) for _ in space.strides for size in sizes]
        self._optimizer = torch.optim.Adam(self.thetas, lr=rate)

    def probabilities(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per stage the chances of the bins of depths and of widths."""
        chances = [torch.softmax(theta.detach(), 0).double().numpy() for theta in self.thetas]
        return list(zip(chances[::2], chances[1::2], strict=True))

    def draw(self, step: int, uniform: bool) -> list[int]:
        """An architecture, uniform inside a space drawn by the distribution (Eq. 3)."""
        rng = generator(self._seed, NssStream.PATHS, step)
        code = []
        for index, theta in enumerate(self.thetas):
            size = self._bins[index % 2]
            p = torch.softmax(theta.detach(), 0).double().numpy()
            bin_ = int(rng.integers(len(p))) if uniform else int(rng.choice(len(p), p=p / p.sum()))
            code.append(bin_ * size + int(rng.integers(size)))
        return code

    def step(self, number: int, share: float, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update on validation images, `share` of the way through; returns cross-entropy and cost."""
        rng = generator(self._seed, NssStream.GATES, number)
        first, last = self._temperatures
        temperature = first * (last / first) ** share
        gated: list[Gates] = []
        for index, theta in enumerate(self.thetas):
            size = self._bins[index % 2]
            noise = torch.from_numpy(rng.gumbel(size=len(theta)).astype(np.float32))
            soft = torch.softmax((theta + noise) / temperature, 0)
            hard = F.one_hot(soft.argmax(), len(theta)).float()
            options = [b * size + int(rng.integers(size)) + 1 for b in range(len(theta))]
            gated.append((options, hard + soft - soft.detach()))
        stages = list(zip(gated[::2], gated[1::2], strict=True))
        with frozen_weights(self.supernet):
            loss = F.cross_entropy(self.supernet.mixture(images, stages), labels)
            demand = mixture_cost(self._cost, stages)
            self._optimizer.zero_grad(set_to_none=True)
            (loss + self._weight * (demand / self._target - 1).abs()).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return float(loss.detach()), float(demand.detach())

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed search needs, as tensors."""
        return learned_state(self.thetas, self._optimizer)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        load_learned_state(self.thetas, self._optimizer, tensors)


@dataclass(frozen=True)
class EliteSpace:
    """What Network Space Search found.

    Attributes:
        chosen: per stage the bins of depths and of widths.
        bins: their sizes, and the space they are bins of.
        cost: what was aimed at.
        mean: mean cost of its networks.
        probabilities: per stage the chances of the bins.
    """

    chosen: tuple[tuple[int, int], ...]
    bins: Bins
    cost: StagedCost
    mean: float
    probabilities: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

    @property
    def text(self) -> str:
        """The ranges, as the space nss-elite takes them."""
        return format_ranges(self.bins.ranges(self.chosen))

    def chain(self) -> Space:
        """The space that the other algorithms search."""
        space = self.bins.space
        return make_space(
            "nss-elite",
            ranges=self.text,
            resolution=space.input.height,
            classes=space.classes,
            channels=space.input.channels,
            stem=space.stem,
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "space": self.bins.space.spec,
            "chosen": [list(pair) for pair in self.chosen],
            "ranges": self.text,
            "cost": self.cost.name,
            "mean_cost": self.mean,
            # The chain that is searched has its own depths and widths; under MACs, what its networks have on average.
            "chain_mean_macs": _mean_macs(self.chain()),
            "probabilities": [[list(d), list(w)] for d, w in self.probabilities],
        }


def _mean_macs(space: Space) -> float:
    return float(counted(space, "macs")(space.sample(2000, np.random.default_rng(0))).mean())


def search_space(
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
    """Network Space Search: train the masked supernet and the distribution, and draw the Elite Space.

    Weights step on training images along architectures drawn uniformly from drawn spaces; every second step the
    distribution steps on validation images, after the warm-up. Resumable from `file` at any step.

    Args:
        space: of stages.
        images: data.
        target: what networks of the Elite Space shall cost on average.
        settings: hyper-parameters.
        recipe: how weights train.
        seed: of everything.
        file: the checkpoint; None keeps nothing.
        progress: is shown the training.
        cost: MACs by default; or latency, which the paper leaves for later.

    Raises:
        InfeasibleError: a target outside of the space's range.
    """
    cost = staged_macs(space) if cost is None else cost
    require_reachable(cost, target)
    bins = Bins(space, settings.depth_bin, settings.width_bin)
    torch.manual_seed(seed)
    supernet = MaskedSupernet(space)
    distribution = SpaceDistribution(
        supernet,
        settings.depth_bin,
        settings.width_bin,
        target=target,
        cost=cost,
        weight=settings.weight,
        rate=settings.rate,
        temperatures=(settings.first, settings.last),
        seed=seed,
    )

    def warming(step: int) -> bool:
        return step < settings.warmup * trainer.steps

    def after(step: int) -> None:
        if step % 2 and not warming(step):
            share = (step / trainer.steps - settings.warmup) / (1 - settings.warmup)
            batch = endless_batch(
                images.validation, recipe.batch, step // 2, seed=seed, stream=NssStream.VALIDATION_ORDER
            )
            distribution.step(step, share, *batch)

    trainer = Trainer(
        supernet,
        images.train,
        recipe,
        seed=seed,
        path_of_step=lambda step: distribution.draw(step, warming(step)),
        on_step_end=after,
        companion=distribution,
    )
    identity = settings_digest("nss-2", space.spec, images.digest, recipe, settings, seed, target, cost)
    trainer.run(file, identity, progress, f"searching for a space within {space.spec}")
    rng = generator(seed, NssStream.ELITE_SPACES)
    probabilities = distribution.probabilities()
    chosen = elite(bins, probabilities, target, settings.drawn, rng, cost)
    progress.message(describe_elite_space(bins, chosen, cost, target))
    return EliteSpace(
        chosen,
        bins,
        cost,
        mean_cost(cost, bins, chosen, rng),
        tuple((tuple(map(float, d)), tuple(map(float, w))) for d, w in probabilities),
    )
