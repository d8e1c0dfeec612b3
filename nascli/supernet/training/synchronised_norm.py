"""Batch normalisation over the batch of all processes that train together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import Recipe

# Images of a step below which the statistics of one process are too noisy.
MIN_IMAGES = 16


class _Normalise(torch.autograd.Function):
    """Normalisation by statistics of all processes, whose gradients depend on the inputs of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        gradient = gradients[0].to(mean.dtype)
        inverse = torch.rsqrt(variance + ctx.eps)
        normalised = (x.to(mean.dtype) - mean[:, None, None]) * inverse[:, None, None]
        of_bias = gradient.sum((0, 2, 3))
        of_weight = (gradient * normalised).sum((0, 2, 3))
        # The gradients of scale and shift are averaged with those of all other parameters.
        total = distributed.add_up(torch.stack([of_bias, of_weight])) / count
        gradient = gradient - total[0, :, None, None] - normalised * total[1, :, None, None]
        gradient = gradient * (inverse if weight is None else inverse * weight)[:, None, None]
        if weight is None:
            return gradient.to(x.dtype), None, None, None, None, None, None
        return gradient.to(x.dtype), of_weight, of_bias, None, None, None, None


def synchronised_batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalise by the mean and variance over the batch of all processes, and update the running statistics.

    All processes call this at the same point, each with images of its own; it works with any backend.

    Args:
        x: Values of this process, `(batch, channels, height, width)`.
        running_mean: Running mean, `(channels,)`, changed in place.
        running_variance: Running variance, `(channels,)`, changed in place.
        weight: Learned scale, `(channels,)`; None for 1.
        bias: Learned shift, `(channels,)`; None for 0.
        momentum: Share of the new statistics in the running ones.
        eps: Term that is added to the variance.
    """
    with torch.no_grad():
        values = x.detach().to(running_mean.dtype)
        variance, mean = torch.var_mean(values, (0, 2, 3), correction=0)
        own = torch.cat([mean, variance, mean.new_full((1,), x.numel() // x.shape[1])])
        found = [torch.empty_like(own) for _ in range(distributed.world_size())]
        with distributed.collective():
            dist.all_gather(found, own)
        channels = x.shape[1]
        rows = torch.stack(found)
        means, variances, counts = rows[:, :channels], rows[:, channels:-1], rows[:, -1:]
        count = counts.sum()
        # Means and variances of parts make those of the whole without a difference of large numbers.
        mean = (means * counts).sum(0) / count
        variance = ((variances + (means - mean) ** 2) * counts).sum(0) / count
        running_mean.lerp_(mean, momentum)
        running_variance.lerp_(variance * count / (count - 1).clamp_min(1), momentum)
    normalised: Tensor = _Normalise.apply(x, weight, bias, mean, variance, count, eps)
    return normalised


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes in training, with any backend."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(batch, channels, height, width)`; in evaluation, or in a single process, as the base class."""
        if not self.training or distributed.world_size() == 1:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        return synchronised_batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, momentum, self.eps
        )


class _CardBatchNorm(nn.SyncBatchNorm, nn.BatchNorm2d):
    """torch's synchronised normalisation, which has kernels for cards, and is found where a `BatchNorm2d` is sought."""


_KINDS = (SynchronisedBatchNorm, _CardBatchNorm)


def is_synchronised(norm: nn.Module) -> bool:
    """Tell whether a module normalises over the batch of all processes."""
    return isinstance(norm, _KINDS) and distributed.world_size() > 1


def needs_synchronisation(recipe: Recipe) -> bool:
    """Tell whether batch normalisation is synchronised among the processes that train by a recipe.

    Args:
        recipe: How to train; its field `synchronised` decides.
    """
    processes = distributed.world_size()
    if processes == 1 or recipe.synchronised == "no":
        return False
    return recipe.synchronised == "yes" or recipe.batch / processes < MIN_IMAGES


def synchronise_batch_norm(module: nn.Module) -> list[nn.BatchNorm2d]:
    """Make all batch normalisation of a module use the batch of all processes, in place.

    Returns:
        The normalisations that were changed.
    """
    changed = [norm for norm in module.modules() if type(norm) is nn.BatchNorm2d]
    for norm in changed:
        if norm.running_mean is not None and norm.running_mean.is_cuda:
            norm.__class__ = _CardBatchNorm
            # None is the group of all processes.
            norm.process_group = None  # type: ignore[assignment]
        else:
            norm.__class__ = SynchronisedBatchNorm
    return changed


@contextmanager
def synchronised_where_needed(module: nn.Module, recipe: Recipe) -> Iterator[None]:
    """Synchronise the batch normalisation of a module inside the context, if its training by a recipe needs it.

    Outside of it the module is as before: processes evaluate different architectures, whose statistics each of them
    collects alone.

    Args:
        module: Module that is trained inside the context.
        recipe: How it is trained.
    """
    changed = synchronise_batch_norm(module) if needs_synchronisation(recipe) else []
    try:
        yield
    finally:
        for norm in changed:
            norm.__class__ = nn.BatchNorm2d
