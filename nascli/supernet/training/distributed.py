"""Data-parallel training under torchrun: rows of a batch, averaged gradients, synchronised batch normalisation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous


def join_process_group() -> None:
    """Join the process group of torchrun; do nothing if this process was not started by torchrun.

    Training runs on CPUs, so the backend is gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # One agent keeps one store through all restarts of its processes: without a name of its own, a restarted
        # group would find the addresses of the one that died, and wait for it.
        store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wait_for_all() -> None:
    """Wait until every process is here, for instance before they read a file that the first one wrote."""
    if world_size() > 1:
        dist.barrier()


def is_first_process() -> bool:
    """Tell whether this process is the one that writes files and reports progress."""
    return not dist.is_initialized() or dist.get_rank() == 0


def rows_of_this_process(batch: int) -> slice:
    """Return the rows of a batch that this process takes.

    Args:
        batch: Number of rows of the batch.
    """
    return slice(None) if world_size() == 1 else slice(dist.get_rank(), batch, world_size())


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Average gradients over all processes, in place.

    Args:
        parameters: Parameters that the step used. All processes follow the same path of a supernet, so these are
            the same everywhere.
    """
    if world_size() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation over the batch of all processes, with any backend.

    `torch.nn.SyncBatchNorm` does the same on GPUs alone.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(batch, channels, height, width)`; in evaluation, or in a single process, as the base class."""
        if not self.training or world_size() == 1:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        n = x.numel() // x.shape[1]
        # Centred near the mean first, equally in all processes, so that the squares do not cancel.
        shift = self.running_mean.detach().clone()
        centred = x - shift[:, None, None]
        sums = torch.cat([centred.sum((0, 2, 3)), (centred * centred).sum((0, 2, 3)), x.new_tensor([n])])
        total: Tensor = _SumOverProcesses.apply(sums)
        count = float(total[-1])
        mean, square = total[: x.shape[1]] / count, total[x.shape[1] : -1] / count
        variance = (square - mean * mean).clamp_min(0)
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(shift + mean, momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)
        scale = torch.rsqrt(variance + self.eps)
        h = (centred - mean[:, None, None]) * scale[:, None, None]
        return h if self.weight is None else h * self.weight[:, None, None] + self.bias[:, None, None]


def synchronise_batch_norm(module: nn.Module) -> nn.Module:
    """Make all batch normalisation of a module use the batch of all processes, in place; return the module."""
    for norm in module.modules():
        if type(norm) is nn.BatchNorm2d:
            norm.__class__ = SynchronisedBatchNorm
    return module
