"""Evaluation of many architectures at once: what they share, from the input on, is computed once.

Architectures are the leaves of a tree of prefixes. The tree is walked depth first, batch by batch, so that one
activation per depth is alive. Normalisation statistics belong to a node: they follow from the blocks before it
and nothing else, so they are the same as when each architecture is evaluated alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nascli.spaces.space import Population
from nascli.supernet.data.batches import evaluation_batches
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.accuracy import Accuracy, batch_figures
from nascli.supernet.separate import Supernet
from nascli.supernet.training import distributed

Array = npt.NDArray[np.float64]
# Architectures of one tree. More of them share more blocks, but progress is reported less often.
ARCHITECTURES_PER_TREE = 256
# Batches whose figures stay on the device before the host asks for them.
_BATCHES_PER_LOOK = 64
# Called with the number of an architecture and its logits on a batch, `(batch, classes)`.
_Visit = Callable[[int, Tensor], None]


class _Node:
    """One block after one prefix, with the normalisation statistics that hold there.

    The block may stand at several nodes; each `run` lends it the statistics of this one.
    """

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
        self.statistics: list[tuple[Tensor, Tensor]] = []
        self.children: dict[int | None, _Node] = {}
        self.leaves: list[int] = []

    def reset_statistics(self) -> None:
        self.statistics = [
            (torch.zeros_like(norm.running_mean), torch.ones_like(norm.running_var))  # type: ignore[arg-type]
            for norm in self.norms
        ]

    def run(self, x: Tensor, batches_before: int | None) -> Tensor:
        """Compute the block.

        Args:
            x: Output of the parent, `(batch, channels, height, width)`.
            batches_before: Number of batches that the statistics are an average of; this one is added to them. None
                uses the statistics and leaves them as they are.
        """
        for norm, (mean, variance) in zip(self.norms, self.statistics, strict=True):
            norm.running_mean, norm.running_var = mean, variance
            if batches_before is not None:
                # A plain average over the batches.
                norm.momentum = 1 / (batches_before + 1)
            norm.training = batches_before is not None
        result: Tensor = self.block(x)
        return result


@contextmanager
def _restored(norms: Iterable[nn.BatchNorm2d]) -> Iterator[None]:
    """Give the normalisations their own statistics and momentum back at the end, in evaluation mode."""
    states = {
        norm: (
            norm.running_mean,
            norm.running_var,
            norm.momentum,
            # Unlike the other tensors it is changed in place.
            None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone(),
        )
        for norm in norms
    }
    try:
        yield
    finally:
        for norm, (mean, variance, momentum, batches_tracked) in states.items():
            norm.running_mean, norm.running_var, norm.momentum = mean, variance, momentum
            norm.num_batches_tracked = batches_tracked
            norm.training = False


class PrefixTree:
    """Several architectures of one supernet, arranged by the blocks that they share.

    Args:
        supernet: Supernet whose weights are used; it is put into evaluation mode and moved to the device of the
            images, and is otherwise unchanged after each method.
        population: Architectures, each a choice per layer. Results are in the same order. An architecture may occur
            more than once.
    """

    def __init__(self, supernet: Supernet, population: Iterable[Sequence[int]]) -> None:
        self._supernet = supernet.to(memory_format=torch.channels_last).eval()
        self._roots: dict[int | None, _Node] = {}
        self._nodes: list[_Node] = []
        self._architectures = 0
        for architecture in population:
            self._insert([int(choice) for choice in architecture])

    def _insert(self, architecture: list[int]) -> None:
        choices = iter(architecture)
        level, node = self._roots, None
        for position, block in enumerate(self._supernet.blocks):
            choice = next(choices) if isinstance(block, nn.ModuleList) else None
            if choice not in level:
                module = block if choice is None else self._supernet.chosen_module(position, choice)
                level[choice] = _Node(module)
                self._nodes.append(level[choice])
            node = level[choice]
            level = node.children
        assert node is not None
        node.leaves.append(self._architectures)
        self._architectures += 1

    @property
    def node_count(self) -> int:
        """Number of blocks that are computed per batch; one by one, it would be architectures times depth."""
        return len(self._nodes)

    def _walk(
        self, level: dict[int | None, _Node], x: Tensor, batches_before: int | None, visit: _Visit
    ) -> None:
        for node in level.values():
            h = node.run(x, batches_before)
            for leaf in node.leaves:
                visit(leaf, h)
            self._walk(node.children, h, batches_before, visit)

    @contextmanager
    def _fresh_statistics(self, device: torch.device) -> Iterator[None]:
        self._supernet.to(device)
        with _restored(norm for node in self._nodes for norm in node.norms), torch.inference_mode():
            for node in self._nodes:
                node.reset_statistics()
            yield

    def quick_accuracies(self, images: Tensor, labels: Tensor) -> list[float]:
        """Evaluate all architectures on one mini-batch, normalised by the batch's own statistics.

        Args:
            images: `(batch, channels, height, width)`.
            labels: `(batch,)`.

        Returns:
            Top-1 of each architecture, from 0 to 1.
        """
        top1: dict[int, Tensor] = {}

        def score(leaf: int, logits: Tensor) -> None:
            top1[leaf] = (logits.argmax(dim=1) == labels).float().mean()

        with self._fresh_statistics(images.device):
            self._walk(self._roots, images.contiguous(memory_format=torch.channels_last), 0, score)
            scores: list[float] = torch.stack([top1[leaf] for leaf in range(self._architectures)]).tolist()
        return scores

    def _figures(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return right answers and summed losses of a batch, `(2, architectures)`, on the device of the images."""
        figures: dict[int, tuple[Tensor, Tensor]] = {}

        def score(leaf: int, logits: Tensor) -> None:
            figures[leaf] = batch_figures(logits, labels)

        self._walk(self._roots, x, None, score)
        correct, losses = zip(*(figures[leaf] for leaf in range(self._architectures)), strict=True)
        # A batch has too few images for a float32 to lose one.
        return torch.stack((torch.stack(correct).float(), torch.stack(losses).float()))

    def accuracies(self, images: Images, *, calibration: int = 256) -> list[Accuracy]:
        """Evaluate all architectures on the validation part, as `SupernetEvaluator` evaluates each of them.

        Args:
            images: Data set of the training and validation parts.
            calibration: Number of training images on which statistics are recalculated.

        Returns:
            Accuracy of each architecture; a loss that is not finite is infinite.
        """
        correct, loss = [0] * self._architectures, [0.0] * self._architectures
        with self._fresh_statistics(images.validation.device):
            for batches_before, (x, _) in enumerate(evaluation_batches(images.train, calibration)):
                self._walk(self._roots, x, batches_before, lambda leaf, logits: None)
            for figures in _in_groups(self._figures(x, y) for x, y in evaluation_batches(images.validation)):
                # The host waits for the device once a group; losses are added in double precision.
                for hits, totals in torch.stack(figures).tolist():
                    correct = [a + int(b) for a, b in zip(correct, hits, strict=True)]
                    loss = [a + b for a, b in zip(loss, totals, strict=True)]
        n = len(images.validation)
        return [
            Accuracy(hits / n, total / n if math.isfinite(total) else math.inf)
            for hits, total in zip(correct, loss, strict=True)
        ]


def _in_groups(figures: Iterator[Tensor]) -> Iterator[list[Tensor]]:
    """Cut what an iterator gives into lists of `_BATCHES_PER_LOOK`."""
    while group := list(itertools.islice(figures, _BATCHES_PER_LOOK)):
        yield group


def validation_accuracies(
    supernet: Supernet,
    images: Images,
    population: Population,
    calibration: int,
    on_evaluated: Callable[[int], None],
) -> Array:
    """Evaluate a population of any size on the validation part, in trees of neighbouring architectures.

    All processes that train together call this at the same point, and each evaluates its share of the population.

    Args:
        supernet: Supernet whose weights are used.
        images: Data set of the training and validation parts.
        population: `(n, layers)` choices.
        calibration: Number of training images on which statistics are recalculated for each architecture.
        on_evaluated: Called after each tree with the number of its architectures.

    Returns:
        Top-1 of each architecture, `(n,)`, from 0 to 1.
    """
    order = np.lexsort(population.T[::-1])
    neighbours = population[order].tolist()

    def top1(architectures: Sequence[Sequence[int]]) -> list[float]:
        tree = PrefixTree(supernet, architectures)
        return [a.top1 for a in tree.accuracies(images, calibration=calibration)]

    sorted_scores: list[float] = []
    size = ARCHITECTURES_PER_TREE * distributed.world_size()
    for start in range(0, len(neighbours), size):
        group = neighbours[start : start + size]
        sorted_scores += distributed.compute_shares(group, top1)
        on_evaluated(len(group))
    scores = np.empty(len(population))
    scores[order] = sorted_scores
    return scores
