"""Evaluating many architectures at once: what they share from the input on is computed once.

Architectures are the leaves of a tree of prefixes. The tree is walked depth first, batch by batch, so that one
activation per depth is alive. Normalisation statistics belong to a node: they follow from the blocks before it
and nothing else, so they are the same as when each architecture is evaluated alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.spaces.space import Population
from nascli.supernet.data.batches import batches
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.accuracy import Accuracy
from nascli.supernet.separate import Supernet

Visit = Callable[[int, Tensor], None]


class _Node:
    """One block after one prefix, with the statistics that hold there."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block
        self.norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)]
        self.statistics: list[tuple[Tensor, Tensor]] = []
        self.children: dict[int | None, _Node] = {}
        self.leaves: list[int] = []

    def reset(self) -> None:
        self.statistics = [
            (torch.zeros_like(norm.running_mean), torch.ones_like(norm.running_var))  # type: ignore[arg-type]
            for norm in self.norms
        ]

    def run(self, x: Tensor, seen: int | None) -> Tensor:
        """Evaluate; `seen` batches have counted towards the statistics so far, None in evaluation."""
        for norm, (mean, variance) in zip(self.norms, self.statistics, strict=True):
            norm.running_mean, norm.running_var = mean, variance
            if seen is not None:
                # A plain average over batches: each new one weighs 1 / (batches so far + 1).
                norm.momentum = 1 / (seen + 1)
            norm.training = seen is not None
        result: Tensor = self.block(x)
        return result


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


_Kept = dict[nn.BatchNorm2d, tuple[Tensor | None, Tensor | None, float | None, Tensor | None]]


def _put_back(kept: _Kept) -> None:
    for norm, (mean, variance, momentum, tracked) in kept.items():
        norm.running_mean, norm.running_var, norm.momentum = mean, variance, momentum
        norm.num_batches_tracked = tracked
        norm.training = False


class PrefixTree:
    """A batch of architectures of one supernet, arranged by what they share."""

    def __init__(self, supernet: Supernet, codes: Iterable[Sequence[int]]) -> None:
        self._supernet = supernet.to(memory_format=torch.channels_last).eval()
        self._roots: dict[int | None, _Node] = {}
        self._nodes: list[_Node] = []
        self.leaves = 0
        for code in codes:
            self._grow([int(c) for c in code])

    def _grow(self, code: list[int]) -> None:
        choices = iter(code)
        level, node = self._roots, None
        for position, block in enumerate(self._supernet.blocks):
            choice = next(choices) if isinstance(block, nn.ModuleList) else None
            if choice not in level:
                module = block if choice is None else self._supernet.choice(position, choice)
                level[choice] = _Node(module)
                self._nodes.append(level[choice])
            node = level[choice]
            level = node.children
        assert node is not None
        node.leaves.append(self.leaves)
        self.leaves += 1

    @property
    def evaluations(self) -> int:
        """Blocks computed per batch; one at a time it would be leaves times depth."""
        return len(self._nodes)

    def _walk(self, level: dict[int | None, _Node], x: Tensor, seen: int | None, visit: Visit) -> None:
        for node in level.values():
            h = node.run(x, seen)
            for leaf in node.leaves:
                visit(leaf, h)
            self._walk(node.children, h, seen, visit)

    def quick_accuracies(self, images: Tensor, labels: Tensor) -> list[float]:
        """Top-1 of each architecture on one mini-batch, normalised by the batch's own statistics."""
        found = [0.0] * self.leaves

        def score(leaf: int, logits: Tensor) -> None:
            found[leaf] = float((logits.argmax(dim=1) == labels).float().mean())

        kept = self._kept()
        try:
            with torch.inference_mode():
                for node in self._nodes:
                    node.reset()
                self._walk(self._roots, images.contiguous(memory_format=torch.channels_last), 0, score)
        finally:
            _put_back(kept)
        return found

    def _kept(self) -> _Kept:
        return {
            norm: (norm.running_mean, norm.running_var, norm.momentum, _copied(norm.num_batches_tracked))
            for node in self._nodes
            for norm in node.norms
        }

    def accuracies(self, images: Images, *, calibration: int = 256) -> list[Accuracy]:
        """Validation top-1 and loss of each architecture, statistics recalculated on training images."""
        kept = self._kept()
        correct, loss = [0] * self.leaves, [0.0] * self.leaves
        try:
            with torch.inference_mode():
                for node in self._nodes:
                    node.reset()
                for seen, (x, _) in enumerate(batches(images.train, calibration)):
                    self._walk(self._roots, x, seen, lambda leaf, logits: None)
                for x, labels in batches(images.validation):

                    def score(leaf: int, logits: Tensor, labels: Tensor = labels) -> None:
                        correct[leaf] += int((logits.argmax(dim=1) == labels).sum())
                        loss[leaf] += float(F.cross_entropy(logits, labels, reduction="sum"))

                    self._walk(self._roots, x, None, score)
        finally:
            _put_back(kept)
        n = len(images.validation)
        return [
            Accuracy(c / n, v / n if math.isfinite(v) else math.inf)
            for c, v in zip(correct, loss, strict=True)
        ]


Array = npt.NDArray[np.float64]
# Architectures per tree: more share more, and take longer between two signs of life.
LEAVES = 256


def validation_accuracies(
    supernet: Supernet, images: Images, codes: Population, calibration: int, tick: Callable[[int], None]
) -> Array:
    """`(n,)` top-1 on the validation part, statistics recalculated for each architecture."""
    found: list[float] = []
    order = np.lexsort(codes.T[::-1])
    for start in range(0, len(codes), LEAVES):
        rows = codes[order[start : start + LEAVES]]
        tree = PrefixTree(supernet, rows.tolist())
        found += [a.top1 for a in tree.accuracies(images, calibration=calibration)]
        tick(len(rows))
    scores = np.empty(len(codes))
    scores[order] = found
    return scores
