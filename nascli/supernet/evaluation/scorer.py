"""Scores of architectures with a supernet's weights, computed in this process or in another one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from nascli.spaces.catalog import load_space
from nascli.supernet.data.images import Images, load_images
from nascli.supernet.data.options import DataOptions
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.modules import load_module
from nascli.supernet.separate import Supernet

# Architectures that are scored before results are recorded: enough to share many blocks, few enough to lose little
# when the search is killed.
ARCHITECTURES_PER_BATCH = 32
# The second score of a network whose loss is not finite.
_WORST_SCORE = -1e30


class TreeScorer:
    """Scores batches of architectures on the validation part, by `PrefixTree`.

    Args:
        supernet: Supernet whose weights are used.
        images: Data set of the training and validation parts.
        calibration: Number of training images on which normalisation statistics are recalculated.
    """

    def __init__(self, supernet: Supernet, images: Images, *, calibration: int) -> None:
        self._supernet, self._images, self._calibration = supernet, images, calibration

    def __call__(self, architectures: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Score architectures. The scores of each do not depend on the others.

        Losses are rounded to four decimals: their last digits depend on the number of threads, and would let searches
        on different machines go different ways.

        Args:
            architectures: Choices of each architecture.

        Returns:
            Top-1, from 0 to 1, and negative loss of each architecture.
        """
        tree = PrefixTree(self._supernet, architectures)
        return [
            (
                accuracy.top1,
                -round(accuracy.loss, 4) if math.isfinite(accuracy.loss) else _WORST_SCORE,
            )
            for accuracy in tree.accuracies(self._images, calibration=self._calibration)
        ]


def prefix_batches(
    architectures: Sequence[tuple[int, ...]], size: int = ARCHITECTURES_PER_BATCH
) -> Iterator[list[tuple[int, ...]]]:
    """Cut architectures into batches of neighbours, which share the most blocks.

    Args:
        architectures: Choices of each architecture.
        size: Largest number of architectures in a batch.

    Yields:
        Batches of the sorted architectures.
    """
    neighbours = sorted(architectures)
    for start in range(0, len(neighbours), size):
        yield neighbours[start : start + size]


def pack_weights(supernet: Supernet) -> bytes:
    """Return a supernet's weights as a safetensors document, which `scorer_from_weights` reads in another process."""
    from safetensors.torch import save

    document: bytes = save({f"module/{k}": v.cpu().contiguous() for k, v in supernet.state_dict().items()})
    return document


def scorer_from_weights(
    spec: str, data: str, weights: bytes, calibration: int, threads: int, options: DataOptions = DataOptions()
) -> TreeScorer:
    """Build a scorer on the CPU of this process, from weights of another one on whatever device.

    Args:
        spec: Name and parameters of the space.
        data: Name of a data set that this machine has too.
        weights: Weights from `pack_weights`.
        calibration: Number of training images on which normalisation statistics are recalculated.
        threads: Number of threads that torch uses in this process.
        options: How the data set is split and read.

    Raises:
        CheckpointError: The weights do not fit the space.
        DataError: The data set is missing or damaged on this machine.
    """
    from safetensors.torch import load as load_tensors

    torch.set_num_threads(threads)
    space = load_space(spec)
    supernet = Supernet(space)
    load_module(supernet, load_tensors(weights))
    images = load_images(data, space.input.height, options=options)
    return TreeScorer(supernet, images, calibration=calibration)
