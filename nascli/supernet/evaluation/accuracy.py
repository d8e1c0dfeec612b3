"""Accuracy of a network, and of one architecture of a supernet with recalculated normalisation statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.supernet.data.batches import evaluation_batches
from nascli.supernet.data.images import Images
from nascli.supernet.data.splits import ImageSplit
from nascli.supernet.separate import Supernet
from nascli.supernet.training import distributed


class Accuracy(NamedTuple):
    """Accuracy of a network on one part of a data set.

    Attributes:
        top1: Share of images whose most probable class is right, from 0 to 1.
        loss: Mean cross-entropy in nats.
    """

    top1: float
    loss: float


def accuracy(forward: Callable[[Tensor], Tensor], split: ImageSplit, *, shared: bool = False) -> Accuracy:
    """Evaluate a network on all images of a split.

    Args:
        forward: Function from images `(batch, channels, height, width)` to logits `(batch, classes)`, such as a module
            in evaluation mode.
        split: Images and labels.
        shared: Whether all processes call this with the same network at the same point; each then evaluates its share
            of the images.
    """
    figures = []
    with torch.inference_mode():
        for images, labels in evaluation_batches(split, share=shared):
            figures.append(batch_figures(forward(images), labels))
        correct, loss = summed_figures(figures)
    if shared:
        counts = distributed.on_all(lambda: (correct, loss))
        correct, loss = (sum(values) for values in zip(*counts, strict=True))
    return Accuracy(correct / len(split), loss / len(split))


def batch_figures(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of right answers and the summed cross-entropy of a batch, on the device of the logits.

    Args:
        logits: `(batch, classes)`.
        labels: Classes, `(batch,)`.
    """
    correct = (logits.argmax(dim=1) == labels).sum()
    return correct, F.cross_entropy(logits, labels, reduction="sum")


def summed_figures(batches: Sequence[tuple[Tensor, Tensor]]) -> tuple[int, float]:
    """Return the sums of what `batch_figures` returned; the host waits for the device once.

    Losses are added on the host in double precision and in order, so that the sum is the same on every device that
    has the same losses.
    """
    if not batches:
        return 0, 0.0
    loss = 0.0
    for each in torch.stack([each for _, each in batches]).tolist():
        loss += each
    return int(torch.stack([each for each, _ in batches]).sum()), loss


@contextmanager
def _recalculated_statistics(modules: Sequence[nn.Module]) -> Iterator[Callable[[int], None]]:
    """Reset normalisation statistics and collect them anew from the forward passes inside the context.

    Yields:
        Function to be called before each pass, with the number of passes before it.
    """
    norms = [m for module in modules for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()

    def begin_pass(passes_before: int) -> None:
        for norm in norms:
            # The running statistics become the plain average over the batches. torch does the same without a momentum,
            # but asks the device for the number of batches.
            norm.momentum = 1 / (passes_before + 1)

    try:
        yield begin_pass
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


class SupernetEvaluator:
    """Evaluates single architectures of a supernet with its weights (SPOS, section 3.4).

    For each architecture, the statistics of batch normalisation are recalculated on training images. For many
    architectures at once, `nascli.supernet.evaluation.prefix_tree.PrefixTree` gives the same figures faster.

    Args:
        supernet: Trained supernet. It is moved to the device of the images and put into evaluation mode, and its
            running statistics are overwritten.
        images: Data set of the training and validation parts.
        calibration: Number of training images on which statistics are recalculated.
    """

    def __init__(self, supernet: Supernet, images: Images, *, calibration: int = 256) -> None:
        device = images.validation.device
        self._supernet = supernet.to(device).to(memory_format=torch.channels_last).eval()
        self._images = images
        self._calibration = calibration

    def __call__(self, architecture: Sequence[int]) -> Accuracy:
        """Evaluate an architecture on the validation part.

        The result depends on the weights, the data, and the architecture alone, not on what was evaluated before.

        Args:
            architecture: Choice of each layer, `(layers,)`.
        """
        blocks = self._supernet.path(architecture)

        def forward(x: Tensor) -> Tensor:
            for block in blocks:
                x = block(x)
            return x

        with torch.inference_mode(), _recalculated_statistics(blocks) as begin_pass:
            for number, (images, _) in enumerate(evaluation_batches(self._images.train, self._calibration)):
                begin_pass(number)
                forward(images)
        return accuracy(forward, self._images.validation)


def wilson_interval(top1: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (Wilson 1927).

    Args:
        top1: Observed proportion, from 0 to 1.
        n: Number of observations.
        z: Quantile of the normal distribution; 1.96 gives a 95 % interval.

    Returns:
        Lower and upper end, within 0 and 1.
    """
    centre = (top1 + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z / (1 + z * z / n) * math.sqrt(top1 * (1 - top1) / n + z * z / (4 * n * n))
    return max(0.0, centre - half_width), min(1.0, centre + half_width)
