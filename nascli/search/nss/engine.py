"""The distribution over spaces that Network Space Search learns on the masked supernet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nascli.costmodel.staged_costs import StagedCost
from nascli.supernet.differentiable import frozen, learned_state, load_learned
from nascli.supernet.masked import Gates, MaskedSupernet


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
        rng = np.random.default_rng([self._seed, 61, step])
        code = []
        for index, theta in enumerate(self.thetas):
            size = self._bins[index % 2]
            p = torch.softmax(theta.detach(), 0).double().numpy()
            bin_ = int(rng.integers(len(p))) if uniform else int(rng.choice(len(p), p=p / p.sum()))
            code.append(bin_ * size + int(rng.integers(size)))
        return code

    def step(self, number: int, share: float, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update on validation images, `share` of the way through; returns cross-entropy and cost."""
        rng = np.random.default_rng([self._seed, 62, number])
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
        with frozen(self.supernet):
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
        load_learned(self.thetas, self._optimizer, tensors)
