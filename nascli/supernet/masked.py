"""NSS's supernet: the widest and deepest network, of which an architecture is a part.

Leading channels and blocks are shared. A single architecture is computed on slices of the weights; a distribution
over spaces on masks, whose gates carry its gradient (Gumbel-softmax, straight through).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.spaces.staged import StagedSpace

Gates = tuple[Sequence[int], Tensor]


def _norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Batch normalisation by the leading channels of a wider one."""
    n = x.shape[1]
    assert norm.running_mean is not None and norm.running_var is not None
    # Slices are views, so the wide layer's statistics move along.
    return F.batch_norm(
        x,
        norm.running_mean[:n],
        norm.running_var[:n],
        norm.weight[:n],
        norm.bias[:n],
        norm.training,
        0.1,
        norm.eps,
    )


class _Block(nn.Module):
    """A residual block; the first of a stage projects its input."""

    def __init__(self, before: int, width: int, stride: int, first: bool) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.project = nn.Conv2d(before, width, 1, stride, bias=False) if first else None
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3 if first else 2))
        for conv in (self.first, self.second, self.project):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, width: int, mask: Tensor | None) -> Tensor:
        """The first `width` channels; under a mask, of all channels those that it shows."""
        before = x.shape[1]
        norms = [norm for norm in self.norms if isinstance(norm, nn.BatchNorm2d)]
        h = F.relu(_norm(norms[0], F.conv2d(x, self.first.weight[:width, :before], None, self.stride, 1)))
        h = h if mask is None else h * mask
        h = _norm(norms[1], F.conv2d(h, self.second.weight[:width, :width], None, 1, 1))
        short = x
        if self.project is not None:
            short = F.conv2d(x, self.project.weight[:width, :before], None, self.stride)
            short = _norm(norms[2], short)
        h = F.relu(short + h)
        return h if mask is None else h * mask


class MaskedSupernet(nn.Module):
    """All networks of a staged space in one."""

    def __init__(self, space: StagedSpace) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Conv2d(space.input.channels, space.stem, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(space.stem)
        before, stages = space.stem, []
        for stride in space.strides:
            blocks = [
                _Block(before if i == 0 else space.widths, space.widths, stride if i == 0 else 1, i == 0)
                for i in range(space.depths)
            ]
            stages.append(nn.ModuleList(blocks))
            before = space.widths
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(space.widths, space.classes)

    def forward(self, x: Tensor, code: Sequence[int]) -> Tensor:
        """Logits of one architecture, on slices."""
        h = F.relu(_norm(self.stem_norm, self.stem(x)))
        width = self.space.stem
        for stage, blocks in enumerate(self.stages):
            depth, width = int(code[2 * stage]) + 1, int(code[2 * stage + 1]) + 1
            assert isinstance(blocks, nn.ModuleList)
            for block in list(blocks)[:depth]:
                h = block(h, width, None)
        return F.linear(h.mean((2, 3)), self.head.weight[:, :width], self.head.bias)

    def mixture(self, x: Tensor, stages: Sequence[tuple[Gates, Gates]]) -> Tensor:
        """Logits under gates over depths and over widths, one option per bin."""
        h = F.relu(_norm(self.stem_norm, self.stem(x)))
        full = self.space.widths
        for blocks, ((depths, depth_gates), (widths, width_gates)) in zip(self.stages, stages, strict=True):
            shown = torch.stack([(torch.arange(full) < w).float() for w in widths])
            mask = (width_gates @ shown)[None, :, None, None]
            assert isinstance(blocks, nn.ModuleList)
            total: Tensor | None = None
            for number, block in enumerate(list(blocks)[: max(depths)], 1):
                h = block(h, full, mask)
                for depth, gate in zip(depths, depth_gates, strict=True):
                    if depth == number:
                        total = gate * h if total is None else total + gate * h
            assert total is not None
            h = total
        result: Tensor = self.head(h.mean((2, 3)))
        return result
