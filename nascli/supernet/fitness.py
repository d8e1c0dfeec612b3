"""NSE's fitness indicators: probabilities of branches, learned by simulated gradients (Ci et al. 2021, section 3.3.1).

In each layer two configurations are drawn. The first is computed with its gradient, the second by value; the layer's
output is the first's, and the probability of either receives the product of its own output with the gradient of the
loss at the layer (Eq. 7). The resource term is the same mixture of both configurations' costs (Eq. 8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.costmodel import ChainCost
from nascli.spaces.space import Layer
from nascli.supernet.learned import frozen, learned_state, load_learned
from nascli.supernet.recipe import FitnessSettings
from nascli.supernet.regularisers import configuration_probability, pair_cost
from nascli.supernet.supernet import Supernet


def probability(theta: Tensor) -> Tensor:
    """The probability of a branch, kept away from 0 and 1 as in the authors' code."""
    return 0.999 * torch.sigmoid(theta) + 0.0005


def mixed_output(first: Tensor, second: Tensor, chances: tuple[Tensor, Tensor]) -> Tensor:
    """The first configuration's output, with Eq. 7's gradients of both probabilities attached."""
    a, b = chances
    return first + (a - a.detach()) * first.detach() + (b - b.detach()) * second.detach()


def renormalised(theta: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The probabilities of two configurations, scaled to add up to 1."""
    p = probability(theta)
    a, b = configuration_probability(p, first), configuration_probability(p, second)
    return a / (a + b), b / (a + b)


class Fitness:
    """The indicators of a supernet's multi-branch layers.

    Args:
        supernet: multi-branch.
        cost: what the resource term counts, of the supernet's own space.
        target: the demand that is aimed at (tau), in the cost's unit.
        settings: rates and weight.
        seed: of the configurations drawn.
    """

    def __init__(
        self, supernet: Supernet, cost: ChainCost, target: float, settings: FitnessSettings, seed: int
    ) -> None:
        self.supernet = supernet
        self._cost, self._target, self._settings, self._seed = cost, target, settings, seed
        self.layers = [block for block in supernet.space.blocks if isinstance(block, Layer)]
        self.thetas = [torch.zeros(len(layer.candidates), requires_grad=True) for layer in self.layers]
        # What simplification has dropped is drawn no more.
        self.alive = [np.ones(len(layer.candidates), dtype=bool) for layer in self.layers]
        self._noted: list[list[Tensor]] = [[] for _ in self.thetas]
        self._optimizer = torch.optim.Adam(self.thetas, lr=settings.rate, betas=settings.betas)

    def draw(self, layer: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Two distinct configurations of a layer as gates, drawn by the indicators."""
        p = probability(self.thetas[layer].detach()).numpy()
        kind, alive = self.layers[layer], self.alive[layer]
        drawn: list[np.ndarray[tuple[int], np.dtype[np.bool_]]] = []
        for _ in range(1000):
            gates = (rng.random(len(p)) < p) & alive
            count = int(gates.sum())
            least = 0 if kind.join == "normal" else 1
            if not least <= count <= kind.most or any(np.array_equal(gates, other) for other in drawn):
                continue
            drawn.append(gates)
            if len(drawn) == 2:
                break
        while len(drawn) < 2:
            drawn.append(drawn[0] if drawn else self._most_likely(layer, p))
        first, second = (torch.from_numpy(gates.astype(np.float32)) for gates in drawn)
        return first, second

    def _most_likely(
        self, layer: int, p: np.ndarray[tuple[int], np.dtype[np.float32]]
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        gates = np.zeros(len(p), dtype=bool)
        gates[int(np.argmax(np.where(self.alive[layer], p, -1.0)))] = True
        return gates

    def step(self, number: int, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """One update on a batch of validation images; returns cross-entropy and the demand of Eq. 8."""
        rng = np.random.default_rng([self._seed, 41, number])
        pairs = [self.draw(layer, rng) for layer in range(len(self.layers))]
        self.supernet.train()
        with frozen(self.supernet):
            loss = F.cross_entropy(self._forward(images, pairs), labels)
            demand = pair_cost(self.thetas, [a for a, _ in pairs], [b for _, b in pairs], self._cost)
            excess = demand / self._target - 1
            self._optimizer.zero_grad(set_to_none=True)
            (loss + self._settings.weight * excess**2).backward()  # type: ignore[no-untyped-call]
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
