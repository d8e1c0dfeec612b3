"""Architecture parameters that gradients train: paths with two candidates per layer, and expected costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from nascli.costmodel.chain import ChainCost
from nascli.errors import ConstraintError

# Two candidates of each layer: the one whose output is used, and the one that it is compared with.
CandidatePairs = Sequence[tuple[int, int]]
_ADAM_STATE = ("step", "exp_avg", "exp_avg_sq")


@contextmanager
def frozen_weights(module: nn.Module) -> Iterator[None]:
    """Keep a module's parameters from receiving gradients inside the context.

    Args:
        module: Module whose parameters all require gradients outside the context.
    """
    parameters = list(module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def learned_state(thetas: Sequence[Tensor], optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Return architecture parameters and their moments in Adam as tensors by name, for a checkpoint.

    Args:
        thetas: Architecture parameters, one tensor per layer.
        optimizer: Adam optimiser of these parameters.
    """
    tensors: dict[str, Tensor] = {}
    for number, theta in enumerate(thetas):
        tensors[f"theta{number}"] = theta.detach().clone()
        tensors |= {f"adam{number}/{key}": value.clone() for key, value in optimizer.state[theta].items()}
    return tensors


def load_learned_state(
    thetas: Sequence[Tensor], optimizer: torch.optim.Adam, tensors: dict[str, Tensor]
) -> None:
    """Restore architecture parameters and Adam's moments, in place, from the tensors of `learned_state`."""
    for number, theta in enumerate(thetas):
        with torch.no_grad():
            theta.copy_(tensors[f"theta{number}"])
        for key in _ADAM_STATE:
            if f"adam{number}/{key}" in tensors:
                optimizer.state[theta][key] = tensors[f"adam{number}/{key}"].clone()


def mixed_output(first: Tensor, second: Tensor, probabilities: tuple[Tensor, Tensor]) -> Tensor:
    """Return the first output, with the gradients of both probabilities attached (NSE, Eq. 7).

    Args:
        first: Output whose value is returned.
        second: Output of the same shape that the first is compared with.
        probabilities: Probabilities of the two, scalars.
    """
    a, b = probabilities
    return first + (a - a.detach()) * first.detach() + (b - b.detach()) * second.detach()


def draw_pairs(thetas: Sequence[Tensor], rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw two different candidates per layer, without replacement, by the softmax of the logits.

    Args:
        thetas: Logits of the candidates, `(candidates,)` per layer.
        rng: Generator of the draws.

    Returns:
        Two indices per layer; they are equal if the layer has one candidate.
    """
    pairs = []
    for theta in thetas:
        p = torch.softmax(theta.detach().double(), 0).numpy()
        if len(p) == 1:
            pairs.append((0, 0))
            continue
        first = int(rng.choice(len(p), p=p / p.sum()))
        others = np.delete(np.arange(len(p)), first)
        # If the first candidate is all but certain, the others have probability 0; then they are equally likely.
        other_p = np.maximum(p[others], 1e-12)
        pairs.append((first, int(rng.choice(others, p=other_p / other_p.sum()))))
    return pairs


def paired_forward(
    blocks: Sequence[nn.Module], x: Tensor, pairs: CandidatePairs, thetas: Sequence[Tensor]
) -> Tensor:
    """Compute the output along the first candidate of each pair, with the gradients of the choices attached.

    Args:
        blocks: Blocks in evaluation order; a `ModuleList` is a layer of candidates.
        x: Images, `(batch, channels, height, width)`.
        pairs: Two candidates per layer.
        thetas: Logits of the candidates, `(candidates,)` per layer, on the CPU.

    Returns:
        Logits of the classes, `(batch, classes)`.
    """
    layers = iter(pairs)
    probabilities = iter(_pair_probabilities(pairs, thetas, x.device))
    for block in blocks:
        if not isinstance(block, nn.ModuleList):
            x = block(x)
            continue
        a, b = next(layers)
        first = block[a](x)
        if a != b:
            with torch.no_grad():
                second = block[b](x)
            first = mixed_output(first, second, next(probabilities))
        x = first
    return x


def _pair_probabilities(
    pairs: CandidatePairs, thetas: Sequence[Tensor], device: torch.device
) -> list[tuple[Tensor, Tensor]]:
    """Return the two probabilities of each pair of different candidates, on the device of their outputs."""
    rows = []
    for (a, b), theta in zip(pairs, thetas, strict=True):
        if a != b:
            p = torch.softmax(torch.stack([theta[a], theta[b]]), 0)
            rows.append((p[0], p[1]))
    return on_device(rows, device)


def on_device(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Copy pairs of scalars to a device, with their gradients, in one copy.

    Args:
        pairs: Scalars on the CPU.
        device: Device of the copies.
    """
    if device.type == "cpu" or not pairs:
        return list(pairs)
    copied = torch.stack([scalar for pair in pairs for scalar in pair]).to(device)
    scalars = copied.unbind()
    return list(zip(scalars[::2], scalars[1::2], strict=True))


class ExpectedCost:
    """The expectation of a chain cost if the layers choose independently, differentiable in the probabilities.

    A single-path layer has a probability per candidate. A multi-branch layer has one per branch, and takes each branch
    independently of the others (NSE, section 3.3).

    Args:
        cost: Cost of the space's architectures.
        scale: Unit of the result, in the cost's SI unit.
        dtype: Floating-point type of the computation.
    """

    def __init__(self, cost: ChainCost, *, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> None:
        self._multi_branch = cost.joins is not None
        self._offset = cost.offset / scale
        self._unary = [torch.tensor(values / scale, dtype=dtype) for values in cost.unary]
        self._pairwise = [torch.tensor(values / scale, dtype=dtype) for values in cost.pairwise or ()]
        # A number of branches that the layer does not allow has an infinite cost. It is never drawn, so the cost does
        # not matter, but infinity times probability 0 would.
        self._joins = [
            torch.nan_to_num(torch.tensor(values / scale, dtype=dtype), posinf=0.0)
            for values in cost.joins or ()
        ]

    def __call__(self, probabilities: Sequence[Tensor]) -> Tensor:
        """Return the expected cost in units of `scale`, a scalar.

        Args:
            probabilities: Probabilities of the candidates, `(candidates,)` per layer. Those of a single-path layer sum
                to 1.

        Raises:
            ConstraintError: The number of layers differs from the cost's.
        """
        if len(probabilities) != len(self._unary):
            raise ConstraintError(
                f"{len(self._unary)} layers have costs, got {len(probabilities)} probabilities."
            )
        total = torch.zeros((), dtype=self._unary[0].dtype) + self._offset
        for p, values in zip(probabilities, self._unary, strict=True):
            total = total + p @ values
        for left, right, values in zip(probabilities, probabilities[1:], self._pairwise, strict=False):
            total = total + left @ values @ right
        for p, join in zip(probabilities, self._joins, strict=False):
            total = total + _expected_join_cost(p, join)
        return total


def _expected_join_cost(p: Tensor, join: Tensor) -> Tensor:
    """Return E[join(K)], where K counts independent branches.

    Args:
        p: Probability of each branch, `(branches,)`.
        join: Cost of joining K branches, `(max_branches + 1,)`; more branches cost as much as `max_branches`.
    """
    # Distribution of the count, one branch after the other.
    distribution = [
        torch.ones((), dtype=p.dtype),
        *(torch.zeros((), dtype=p.dtype) for _ in range(len(join) - 1)),
    ]
    last = len(distribution) - 1
    for taken in p:
        updated = [distribution[0] * (1 - taken)]
        for k in range(1, len(distribution)):
            stays = distribution[k] if k == last else distribution[k] * (1 - taken)
            updated.append(stays + distribution[k - 1] * taken)
        distribution = updated
    return torch.stack(distribution) @ join
