"""The fitness indicators of NSE: probabilities of branches, learned by simulated gradients.

The method is that of Ci et al. 2021, section 3.3.1. Two configurations of each layer are drawn. The output of the layer
is that of the first; the second is computed without its gradient. The probability of either receives the product of its
own output with the gradient of the loss at the layer (Eq. 7). The resource term is the same mixture of the costs of
both configurations (Eq. 8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.costmodel import ChainCost
from nascli.errors import TrainingError
from nascli.random_streams import generator
from nascli.search.nse.rounds import RoundTraining
from nascli.search.nse.settings import NseStream
from nascli.spaces.blocks import Layer
from nascli.supernet.differentiable import (
    frozen_weights,
    learned_state,
    load_learned_state,
    mixed_output,
    on_device,
)
from nascli.supernet.separate import Supernet
from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import ArchitectureParameterSettings

Array = npt.NDArray[np.float64]
# Configurations that are drawn at once, to find two that differ.
_DRAWS = 256


def truncated_bernoulli(
    p: Array, min_open: int, max_open: int, n: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw independent gates, given that between `min_open` and `max_open` of them are open.

    Args:
        p: `(gates,)` probabilities of the gates to be open, without the condition.
        min_open: The smallest number of open gates.
        max_open: The largest number of open gates.
        n: The number of draws.
        rng: The source of randomness.

    Returns:
        `(n, gates)` gates.

    Raises:
        TrainingError: No such draw has a positive probability.
    """
    # completions[i, k]: the probability that gates i and later bring k open gates into the allowed range.
    completions = np.zeros((len(p) + 1, max_open + 2))
    completions[-1, min_open : max_open + 1] = 1.0
    for i in range(len(p) - 1, -1, -1):
        completions[i, :-1] = (1 - p[i]) * completions[i + 1, :-1] + p[i] * completions[i + 1, 1:]
    if not completions[0, 0] > 0:
        raise TrainingError(
            f"no set of {min_open} to {max_open} branches has a positive probability among {p}."
        )
    open_count, gates = np.zeros(n, dtype=np.int64), np.zeros((n, len(p)), dtype=bool)
    for i, probability in enumerate(p):
        threshold = probability * completions[i + 1, open_count + 1]
        gates[:, i] = rng.random(n) * completions[i, open_count] < threshold
        open_count += gates[:, i]
    return gates


class FitnessIndicators:
    """The fitness indicators of the layers of a supernet.

    Args:
        supernet: A multi-branch supernet.
        cost: The cost of the resource term, over the supernet's space.
        target: The cost at which the resource term aims (tau).
        settings: The rate and momenta of Adam, and the weight of the resource term; by default the weight is the
            paper's 0.98 for latency and 0.9 for counted costs, relative to the target.
        seed: The seed of the configurations that are drawn.

    Attributes:
        supernet: The supernet.
        layers: Its layers.
        thetas: Per layer `(operations,)` indicators.
        alive: Per layer `(operations,)` whether simplification left an operation; others are not drawn.
    """

    def __init__(
        self,
        supernet: Supernet,
        cost: ChainCost,
        target: float,
        settings: ArchitectureParameterSettings,
        seed: int,
    ) -> None:
        self.supernet = supernet
        self._cost, self._target, self._seed = cost, target, seed
        published = 0.98 if cost.name == "latency" else 0.9
        self._weight = published if settings.weight is None else settings.weight
        self.layers = [block for block in supernet.space.blocks if isinstance(block, Layer)]
        self.thetas = [torch.zeros(len(layer.candidates), requires_grad=True) for layer in self.layers]
        self.alive = [np.ones(len(layer.candidates), dtype=bool) for layer in self.layers]
        # Per layer the indicators after each epoch.
        self._recorded: list[list[Tensor]] = [[] for _ in self.thetas]
        self._optimizer = torch.optim.Adam(self.thetas, lr=settings.rate, betas=settings.betas)

    def draw(self, layer: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw two distinct configurations of a layer by its indicators.

        Where there is only one configuration, or one is all but certain, both are that one.

        Args:
            layer: The number of the layer.
            rng: The source of randomness.

        Returns:
            Two tensors of `(operations,)` gates, 0 or 1.
        """
        p = branch_probability(self.thetas[layer].detach()).double().numpy()
        p = np.where(self.alive[layer], p, 0.0)
        min_branches, max_branches = self.layers[layer].min_branches, self.layers[layer].max_branches
        drawn = truncated_bernoulli(p, min_branches, max_branches, _DRAWS, rng)
        others = drawn[(drawn != drawn[0]).any(axis=1)]
        pair = (drawn[0], others[0] if len(others) else drawn[0])
        first, second = (torch.from_numpy(gates.astype(np.float32)) for gates in pair)
        return first, second

    def step(
        self, number: int, images: Tensor, labels: Tensor, *, weight: float = 1.0
    ) -> tuple[float, float]:
        """Update the indicators once.

        Args:
            number: The number of the step, which decides the configurations.
            images: `(batch, channels, height, width)` validation images.
            labels: `(batch,)` their classes.
            weight: Factor of the loss, where this process has a part of the batch; see `EndlessBatches`.

        Returns:
            The cross-entropy, and the cost of Eq. 8 without tau.
        """
        rng = generator(self._seed, NseStream.CONFIGURATION_PAIRS, number)
        pairs = [self.draw(layer, rng) for layer in range(len(self.layers))]
        self.supernet.train()
        with frozen_weights(self.supernet):
            loss = F.cross_entropy(self._forward(images, pairs), labels)
            expected = pair_cost(self.thetas, [a for a, _ in pairs], [b for _, b in pairs], self._cost)
            excess = expected / self._target - 1
            self._optimizer.zero_grad(set_to_none=True)
            (weight * loss.cpu() + self._weight * excess**2).backward()  # type: ignore[no-untyped-call]
        distributed.average_gradients(self.thetas)
        for theta, alive in zip(self.thetas, self.alive, strict=True):
            assert theta.grad is not None
            theta.grad[torch.from_numpy(~alive)] = 0
        self._optimizer.step()
        return float(loss.detach()), float(expected.detach())

    def _forward(self, x: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the logits of the first configurations, with gradients for the probabilities of both."""
        number = 0
        probabilities = on_device(
            [renormalised(theta, *pair) for theta, pair in zip(self.thetas, pairs, strict=True)], x.device
        )
        for block in self.supernet.blocks:
            if not isinstance(block, nn.ModuleList):
                x = block(x)
                continue
            x = self._forward_layer(block, number, x, pairs[number], probabilities[number])
            number += 1
        return x

    def _forward_layer(
        self,
        candidates: nn.ModuleList,
        number: int,
        x: Tensor,
        pair: tuple[Tensor, Tensor],
        probabilities: tuple[Tensor, Tensor],
    ) -> Tensor:
        first, second = (torch.nonzero(gates)[:, 0].tolist() for gates in pair)
        join = self.layers[number].join
        outputs: dict[int, Tensor] = {}
        for index in first:
            outputs[index] = candidates[index](x)
        with torch.no_grad():
            for index in second:
                if index not in outputs:
                    outputs[index] = candidates[index](x)
            b = _join(x, [outputs[index] for index in second], join)
        a = _join(x, [outputs[index] for index in first], join)
        return mixed_output(a, b, probabilities)

    def record(self) -> None:
        """Add the indicators, as they are now, to their trajectory."""
        for epochs, theta in zip(self._recorded, self.thetas, strict=True):
            epochs.append(theta.detach().clone())

    @property
    def trajectory(self) -> list[list[list[float]]]:
        """The recorded indicators, per epoch, layer, and operation."""
        return [[theta.tolist() for theta in epoch] for epoch in zip(*self._recorded, strict=True)]

    def result(self) -> RoundTraining:
        """Return the indicators, their trajectory, and the operations that are left."""
        return RoundTraining(
            tuple(tuple(float(value) for value in theta.detach()) for theta in self.thetas),
            tuple(tuple(bool(value) for value in alive) for alive in self.alive),
            tuple(tuple(tuple(theta) for theta in epoch) for epoch in self.trajectory),
        )

    def state(self) -> dict[str, Tensor]:
        """Return everything that a resumed search needs, as tensors by name."""
        tensors = learned_state(self.thetas, self._optimizer)
        for number, alive in enumerate(self.alive):
            tensors[f"alive{number}"] = torch.from_numpy(alive.copy())
            if self._recorded[number]:
                tensors[f"noted{number}"] = torch.stack(self._recorded[number])
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        load_learned_state(self.thetas, self._optimizer, tensors)
        for number in range(len(self.thetas)):
            self.alive[number] = tensors[f"alive{number}"].numpy().copy()
            self._recorded[number] = list(tensors.get(f"noted{number}", torch.empty(0)))


def _join(x: Tensor, branches: Sequence[Tensor], join: str) -> Tensor:
    """Return the mean of the branches; the input of a normal layer is one of them (Eq. 1)."""
    addends = [*branches, x] if join == "normal" else list(branches)
    total = addends[0]
    for other in addends[1:]:
        total = total + other
    return total / len(addends) if len(addends) > 1 else total


def configuration_probability(p: Tensor, gates: Tensor) -> Tensor:
    """Return the probability of one configuration of Bernoulli gates (Eq. 4).

    Args:
        p: `(operations,)` probabilities of the branches.
        gates: `(operations,)` gates, 0 or 1.
    """
    return torch.prod(gates * p + (1 - gates) * (1 - p))


def branch_probability(theta: Tensor) -> Tensor:
    """Return the probability of a branch from its indicator, kept away from 0 and 1 as in the authors' code."""
    return 0.999 * torch.sigmoid(theta) + 0.0005


def renormalised(theta: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of two configurations, scaled so that they add up to 1 (before Eq. 7).

    Args:
        theta: `(operations,)` indicators.
        first: `(operations,)` gates of one configuration, 0 or 1.
        second: `(operations,)` gates of the other.
    """
    p = branch_probability(theta)
    a, b = configuration_probability(p, first), configuration_probability(p, second)
    return a / (a + b), b / (a + b)


def pair_cost(
    thetas: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor], cost: ChainCost
) -> Tensor:
    """Return the expected cost under two sampled configurations per layer (Eq. 8, without tau).

    Args:
        thetas: Per layer `(operations,)` indicators.
        first: Per layer `(operations,)` gates of configuration a, 0 or 1.
        second: Per layer `(operations,)` gates of configuration b.
        cost: The cost of operations, summed over the branches of a configuration.

    Returns:
        The offset of the cost plus the sum over layers of p_a C(o_a) + p_b C(o_b), where p_a + p_b = 1. It is
        differentiable by the indicators.
    """
    total = torch.zeros((), dtype=thetas[0].dtype) + cost.offset
    joins = cost.joins or [None] * len(thetas)
    for theta, a, b, values, join in zip(thetas, first, second, cost.unary, joins, strict=True):
        p_a, p_b = renormalised(theta, a, b)
        costs = torch.tensor(values, dtype=theta.dtype)
        cost_a, cost_b = (
            gates @ costs + (0.0 if join is None else float(join[int(gates.sum())])) for gates in (a, b)
        )
        total = total + p_a * cost_a + p_b * cost_b
    return total
