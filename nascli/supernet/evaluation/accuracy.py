"""How accurate an architecture is: normalisation statistics recalculated, then top-1."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.supernet.data.batches import batches
from nascli.supernet.data.images import Images, ImageSplit
from nascli.supernet.separate import Supernet


class Accuracy(NamedTuple):
    """Top-1 and cross-entropy over a split."""

    top1: float
    loss: float


def accuracy(forward: Callable[[Tensor], Tensor], split: ImageSplit) -> Accuracy:
    """Top-1 and loss of a network in evaluation mode."""
    correct, loss = 0, 0.0
    with torch.inference_mode():
        for images, labels in batches(split):
            logits = forward(images)
            correct += int((logits.argmax(dim=1) == labels).sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    return Accuracy(correct / len(split), loss / len(split))


@contextmanager
def _recalculating(modules: Sequence[nn.Module]) -> Iterator[None]:
    norms = [m for module in modules for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        # No momentum: the running statistics become the plain average over the batches.
        norm.momentum = None
        norm.train()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum
            norm.eval()


class SupernetEvaluator:
    """Top-1 on the validation part with inherited weights (SPOS, section 3.4)."""

    def __init__(self, supernet: Supernet, images: Images, *, calibration: int = 256) -> None:
        self._supernet = supernet.to(memory_format=torch.channels_last).eval()
        self._images = images
        self._calibration = calibration

    def __call__(self, code: Sequence[int]) -> Accuracy:
        """Evaluate one architecture; the result depends on the weights, the data and the code alone."""
        blocks = self._supernet.path(code)

        def forward(x: Tensor) -> Tensor:
            for block in blocks:
                x = block(x)
            return x

        with torch.inference_mode(), _recalculating(blocks):
            for images, _ in batches(self._images.train, self._calibration):
                forward(images)
        return accuracy(forward, self._images.validation)


def wilson_interval(top1: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion, 95 % by default."""
    centre = (top1 + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(top1 * (1 - top1) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
