"""NSE's fitness indicators: probabilities of branches, learned by simulated gradients (Ci et al. 2021, section 3.3.1).

In each layer two configurations are drawn. The first is computed with its gradient, the second by value; the layer's
output is the first's, and the probability of either receives the product of its own output with the gradient of the
loss at the layer (Eq. 7). The resource term is the same mixture of both configurations' costs (Eq. 8).
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
from nascli.search.nse.settings import NseStream
from nascli.spaces.blocks import Layer
from nascli.supernet.differentiable import frozen_weights, learned_state, load_learned, mixed_output
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings

Array = npt.NDArray[np.float64]
# Configurations that are drawn at once, to find two that differ.
_TRIES = 256


def truncated_bernoulli(
    p: Array, least: int, most: int, n: int, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """`(n, gates)` independent gates, given that between `least` and `most` of them are open.

    Args:
        p: `(gates,)` the probability of each before the condition.
        least: gates open at least.
        most: gates open at most.
        n: how many draws.
        rng: the source of randomness.

    Raises:
        TrainingError: no such draw has a positive probability.
    """
    # completions[i, k]: the chance that gates from i on bring a count of k into the allowed range.
    completions = np.zeros((len(p) + 1, most + 2))
    completions[-1, least : most + 1] = 1.0
    for i in range(len(p) - 1, -1, -1):
        completions[i, :-1] = (1 - p[i]) * completions[i + 1, :-1] + p[i] * completions[i + 1, 1:]
    if not completions[0, 0] > 0:
        raise TrainingError(f"no set of {least} to {most} branches has a positive probability among {p}.")
    open_, gates = np.zeros(n, dtype=np.int64), np.zeros((n, len(p)), dtype=bool)
    for i, chance in enumerate(p):
        gates[:, i] = rng.random(n) * completions[i, open_] < chance * completions[i + 1, open_ + 1]
        open_ += gates[:, i]
    return gates


class FitnessIndicators:
    """The indicators of a supernet's multi-branch layers.

    Args:
        supernet: multi-branch.
        cost: what the resource term counts, of the supernet's own space.
        target: the demand that is aimed at (tau), in the cost's unit.
        settings: rates and weight.
        seed: of the configurations drawn.
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
        # What simplification has dropped is drawn no more.
        self.alive = [np.ones(len(layer.candidates), dtype=bool) for layer in self.layers]
        self._noted: list[list[Tensor]] = [[] for _ in self.thetas]
        self._optimizer = torch.optim.Adam(self.thetas, lr=settings.rate, betas=settings.betas)

    def draw(self, layer: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Two distinct configurations of a layer as gates, drawn by the indicators."""
        p = branch_probability(self.thetas[layer].detach()).double().numpy()
        kind, alive = self.layers[layer], self.alive[layer]
        drawn = truncated_bernoulli(
            np.where(alive, p, 0.0), kind.min_branches, kind.max_branches, _TRIES, rng
        )
        others = drawn[(drawn != drawn[0]).any(axis=1)]
        # Where one configuration is all there is, or all but certain, the pair is twice that one.
        pair = (drawn[0], others[0] if len(others) else drawn[0])
        first, second = (torch.from_numpy(gates.astype(np.float32)) for gates in pair)
        return first, second

    def step(self, number: int, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update on a batch of validation images; returns cross-entropy and the demand of Eq. 8."""
        rng = generator(self._seed, NseStream.CONFIGURATION_PAIRS, number)
        pairs = [self.draw(layer, rng) for layer in range(len(self.layers))]
        self.supernet.train()
        with frozen_weights(self.supernet):
            loss = F.cross_entropy(self._forward(images, pairs), labels)
            demand = pair_cost(self.thetas, [a for a, _ in pairs], [b for _, b in pairs], self._cost)
            excess = demand / self._target - 1
            self._optimizer.zero_grad(set_to_none=True)
            (loss + self._weight * excess**2).backward()  # type: ignore[no-untyped-call]
        for theta, alive in zip(self.thetas, self.alive, strict=True):
            assert theta.grad is not None
            theta.grad[torch.from_numpy(~alive)] = 0
        self._optimizer.step()
        return float(loss.detach()), float(demand.detach())

    def _forward(self, x: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        number = 0
        for position, block in enumerate(self.supernet.blocks):
            if not isinstance(block, nn.ModuleList):
                x = block(x)
                continue
            x = self._layer(position, number, x, *pairs[number])
            number += 1
        return x

    def _layer(self, position: int, number: int, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        candidates = self.supernet.blocks[position]
        assert isinstance(candidates, nn.ModuleList)
        normal = self.layers[number].join == "normal"
        outputs: dict[int, Tensor] = {}
        for index in torch.nonzero(first)[:, 0].tolist():
            outputs[index] = candidates[index](x)
        with torch.no_grad():
            for index in torch.nonzero(second)[:, 0].tolist():
                if index not in outputs:
                    outputs[index] = candidates[index](x)
            b = _joined(x, [outputs[i] for i in torch.nonzero(second)[:, 0].tolist()], normal)
        a = _joined(x, [outputs[i] for i in torch.nonzero(first)[:, 0].tolist()], normal)
        return mixed_output(a, b, renormalised(self.thetas[number], first, second))

    def note(self) -> None:
        """Add the indicators as they are to their trajectory."""
        for kept, theta in zip(self._noted, self.thetas, strict=True):
            kept.append(theta.detach().clone())

    @property
    def trajectory(self) -> list[list[list[float]]]:
        """The indicators each time that they were noted: time, layer, operation."""
        return [[theta.tolist() for theta in moment] for moment in zip(*self._noted, strict=True)]

    def state(self) -> dict[str, Tensor]:
        """Everything that a resumed search needs, as tensors."""
        found = learned_state(self.thetas, self._optimizer)
        for number, alive in enumerate(self.alive):
            found[f"alive{number}"] = torch.from_numpy(alive.copy())
            if self._noted[number]:
                found[f"noted{number}"] = torch.stack(self._noted[number])
        return found

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from `state`."""
        load_learned(self.thetas, self._optimizer, tensors)
        for number in range(len(self.thetas)):
            self.alive[number] = tensors[f"alive{number}"].numpy().copy()
            self._noted[number] = list(tensors.get(f"noted{number}", torch.empty(0)))


def _joined(x: Tensor, branches: Sequence[Tensor], normal: bool) -> Tensor:
    """The mean of branches, a normal layer's input among them (Eq. 1)."""
    addends = [*branches, x] if normal else list(branches)
    total = addends[0]
    for other in addends[1:]:
        total = total + other
    return total / len(addends) if len(addends) > 1 else total


def configuration_probability(p: Tensor, gates: Tensor) -> Tensor:
    """The probability of one configuration of Bernoulli gates (NSE, Eq. 4)."""
    return torch.prod(gates * p + (1 - gates) * (1 - p))


def branch_probability(theta: Tensor) -> Tensor:
    """The probability of a branch, kept away from 0 and 1 as in the authors' code."""
    return 0.999 * torch.sigmoid(theta) + 0.0005


def renormalised(theta: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The probabilities of two configurations, scaled to add up to 1."""
    p = branch_probability(theta)
    a, b = configuration_probability(p, first), configuration_probability(p, second)
    return a / (a + b), b / (a + b)


def pair_cost(
    thetas: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor], cost: ChainCost
) -> Tensor:
    """NSE's resource demand from two sampled configurations per layer (Eq. 8, without tau).

    Args:
        thetas: per layer `(candidates,)` fitness indicators.
        first: per layer the gates (0 or 1) of configuration a.
        second: per layer the gates of configuration b.
        cost: what an operation costs, plainly summed over the branches of a configuration.

    Returns:
        offset + sum over layers of p_a C(o_a) + p_b C(o_b), with p_a + p_b = 1 in each layer.
    """
    total = torch.zeros((), dtype=thetas[0].dtype) + cost.offset
    joins = cost.joins or [None] * len(thetas)
    for theta, a, b, values, join in zip(thetas, first, second, cost.unary, joins, strict=True):
        chance_a, chance_b = renormalised(theta, a, b)
        costs = torch.tensor(values, dtype=theta.dtype)
        spent = []
        for gates in (a, b):
            extra = 0.0 if join is None else float(join[int(gates.sum())])
            spent.append(gates @ costs + extra)
        total = total + chance_a * spent[0] + chance_b * spent[1]
    return total
