"""Network Space Search: a job that ends in an Elite Space, which the other algorithms search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nascli.costmodel import counted
from nascli.costmodel.staged_costs import StagedCost, staged_macs
from nascli.progress import Progress
from nascli.search.nss.engine import SpaceDistribution
from nascli.search.nss.search import Bins, elite, mean_cost, require_reachable
from nascli.search.nss.settings import Nss
from nascli.spaces.builtin.network_spaces import format_ranges
from nascli.spaces.catalog import make_space
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.batches import endless_batch
from nascli.supernet.data.images import Images
from nascli.supernet.masked import MaskedSupernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer, digest


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
    settings: Nss,
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
            distribution.step(
                step, share, *endless_batch(images.validation, recipe.batch, [seed, 64], step // 2)
            )

    trainer = Trainer(
        supernet,
        images.train,
        recipe,
        seed=seed,
        path=lambda step: distribution.draw(step, warming(step)),
        after=after,
        beside=distribution,
    )
    identity = digest("nss-2", space.spec, images.digest, recipe, settings, seed, target, cost)
    trainer.run(file, identity, progress, f"searching for a space within {space.spec}")
    rng = np.random.default_rng([seed, 63])
    probabilities = distribution.probabilities()
    chosen = elite(bins, probabilities, target, settings.drawn, rng, cost)
    return EliteSpace(
        chosen,
        bins,
        cost,
        mean_cost(cost, bins, chosen, rng),
        tuple((tuple(map(float, d)), tuple(map(float, w))) for d, w in probabilities),
    )
