"""Scoring batches of architectures with inherited weights, here or in a process elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from nascli.spaces.catalog import load_space
from nascli.supernet.data.images import Images, load_images
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.modules import load_module
from nascli.supernet.separate import Supernet

Rows = Sequence[Sequence[int]]
# Leaves of one prefix tree: enough to share a lot, few enough to lose little when killed.
LEAVES = 32


class TreeScorer:
    """Top-1 and negative loss on the validation part; what architectures share is computed once."""

    def __init__(self, supernet: Supernet, images: Images, *, calibration: int) -> None:
        self._supernet, self._images, self._calibration = supernet, images, calibration

    def __call__(self, rows: Rows) -> list[tuple[float, float]]:
        """`(top-1, -loss)` of each row. A row's scores do not depend on the other rows.

        Losses are rounded: their last digits depend on the number of threads, and would let searches on
        different machines go different ways.
        """
        tree = PrefixTree(self._supernet, rows)
        return [
            (found.top1, -round(found.loss, 4) if math.isfinite(found.loss) else -1e30)
            for found in tree.accuracies(self._images, calibration=self._calibration)
        ]


def prefix_batches(rows: Sequence[tuple[int, ...]], size: int = LEAVES) -> Iterator[list[tuple[int, ...]]]:
    """The rows in batches of neighbours, which share the most."""
    ordered = sorted(rows)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def pack_weights(supernet: Supernet) -> bytes:
    """A supernet's weights, to be carried to another process."""
    from safetensors.torch import save

    data: bytes = save({f"module/{k}": v.contiguous() for k, v in supernet.state_dict().items()})
    return data


def scorer_from_weights(spec: str, data: str, weights: bytes, calibration: int, threads: int) -> TreeScorer:
    """Build the scorer of `pack_weights` weights in this process.

    Args:
        spec: the space.
        data: a data set that this machine has too.
        weights: from `pack_weights`.
        calibration: training images that statistics are recalculated on.
        threads: of torch.
    """
    from safetensors.torch import load as load_tensors

    torch.set_num_threads(threads)
    space = load_space(spec)
    supernet = Supernet(space)
    load_module(supernet, load_tensors(weights))
    return TreeScorer(supernet, load_images(data, space.input.height), calibration=calibration)
