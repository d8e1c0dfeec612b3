"""Data-parallel training under torchrun: shares of a batch, averaged gradients, synchronised statistics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous


def start() -> None:
    """Join the group that torchrun made, if it did. Training runs on CPUs here, so the backend is gloo."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # One agent keeps one store through all restarts of its processes: without a name of its own, a restarted
        # group would find the addresses of the one that died, and wait for it.
        store = PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wait_for_all() -> None:
    """Return when every process is here, such as behind a file that the first one writes."""
    if world() > 1:
        dist.barrier()


def is_first() -> bool:
    """Whether this process writes files and talks."""
    return not dist.is_initialized() or dist.get_rank() == 0


def share(size: int) -> slice:
    """Which rows of a batch are this process's."""
    return slice(None) if world() == 1 else slice(dist.get_rank(), size, world())


def average_gradients(touched: Sequence[nn.Parameter]) -> None:
    """Average the gradients that the step made; all processes followed the same path, so they agree on which."""
    if world() == 1:
        return
    gradients = [p.grad for p in touched if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= world()
    start_at = 0
    for gradient in gradients:
        gradient.copy_(flat[start_at : start_at + gradient.numel()].view_as(gradient))
        start_at += gradient.numel()


class _Summed(torch.autograd.Function):
    """The sum over processes, in both directions."""

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


class SynchronisedNorm(nn.BatchNorm2d):
    """Batch normalisation over the whole batch of all processes, on any backend (torch's own needs cards)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise; in evaluation, or alone, as the plain layer does."""
        if not self.training or world() == 1:
            return super().forward(x)
        assert self.running_mean is not None and self.running_var is not None
        n = x.numel() // x.shape[1]
        # Moved near its mean first, the same on all processes, so that the squares do not cancel.
        shift = self.running_mean.detach().clone()
        moved = x - shift[:, None, None]
        sums = torch.cat([moved.sum((0, 2, 3)), (moved * moved).sum((0, 2, 3)), x.new_tensor([n])])
        total: Tensor = _Summed.apply(sums)
        count = float(total[-1])
        mean, square = total[: x.shape[1]] / count, total[x.shape[1] : -1] / count
        variance = (square - mean * mean).clamp_min(0)
        with torch.no_grad():
            momentum = self.momentum if self.momentum is not None else 0.1
            self.running_mean.lerp_(shift + mean, momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)
        scale = torch.rsqrt(variance + self.eps)
        h = (moved - mean[:, None, None]) * scale[:, None, None]
        return h if self.weight is None else h * self.weight[:, None, None] + self.bias[:, None, None]


def synchronise(module: nn.Module) -> nn.Module:
    """Make a module's batch normalisation count over all processes; in place."""
    for norm in module.modules():
        if type(norm) is nn.BatchNorm2d:
            norm.__class__ = SynchronisedNorm
    return module
