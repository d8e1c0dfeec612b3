"""The supernet of a staged space: the widest and deepest network, whose leading channels and blocks are shared.

Network Space Search trains it. A single architecture is computed on slices of the weights; a distribution over
architectures on masks, whose gates carry its gradient (Gumbel-softmax, straight through).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nascli.spaces.staged import StagedSpace
from nascli.supernet.training.synchronised_norm import is_synchronised, synchronised_batch_norm

# Depths or widths to choose from, and a gate for each, `(options,)`.
Gates = tuple[Sequence[int], Tensor]


def _sliced_batch_norm(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise `x` by the leading channels of a wider batch normalisation."""
    n = x.shape[1]
    assert norm.running_mean is not None and norm.running_var is not None
    if norm.training and is_synchronised(norm):
        return synchronised_batch_norm(
            x, norm.running_mean[:n], norm.running_var[:n], norm.weight[:n], norm.bias[:n], 0.1, norm.eps
        )
    return F.batch_norm(
        x,
        # Slices are views: the statistics of the wide layer are updated.
        norm.running_mean[:n],
        norm.running_var[:n],
        norm.weight[:n],
        norm.bias[:n],
        norm.training,
        0.1,
        norm.eps,
    )


class _ResidualBlock(nn.Module):
    """A residual block of two convolutions.

    Args:
        in_channels: Largest number of input channels.
        width: Largest number of output channels.
        stride: Stride of the first convolution.
        projects: Whether the shortcut is a convolution, as in the first block of a stage.
    """

    def __init__(self, in_channels: int, width: int, stride: int, projects: bool) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.project = nn.Conv2d(in_channels, width, 1, stride, bias=False) if projects else None
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3 if projects else 2))
        for conv in (self.first, self.second, self.project):
            if conv is not None:
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor, width: int, mask: Tensor | None) -> Tensor:
        """Compute the leading output channels.

        Args:
            x: `(batch, channels, height, width)`; channels beyond these are not used.
            width: Number of output channels.
            mask: Factor of each output channel, `(1, width, 1, 1)`; None for 1.
        """
        channels = x.shape[1]
        norms = [norm for norm in self.norms if isinstance(norm, nn.BatchNorm2d)]
        h = F.conv2d(x, self.first.weight[:width, :channels], None, self.stride, 1)
        h = F.relu(_sliced_batch_norm(norms[0], h))
        h = h if mask is None else h * mask
        h = _sliced_batch_norm(norms[1], F.conv2d(h, self.second.weight[:width, :width], None, 1, 1))
        shortcut = x
        if self.project is not None:
            shortcut = F.conv2d(x, self.project.weight[:width, :channels], None, self.stride)
            shortcut = _sliced_batch_norm(norms[2], shortcut)
        h = F.relu(shortcut + h)
        return h if mask is None else h * mask


class MaskedSupernet(nn.Module):
    """All networks of a staged space in one.

    Args:
        space: Space of stages, each with a depth and a width to choose.
    """

    def __init__(self, space: StagedSpace) -> None:
        super().__init__()
        self.space = space
        self.stem = nn.Conv2d(space.input.channels, space.stem, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(space.stem)
        in_channels, stages = space.stem, []
        for stride in space.strides:
            blocks = [
                _ResidualBlock(
                    in_channels if i == 0 else space.widths, space.widths, stride if i == 0 else 1, i == 0
                )
                for i in range(space.depths)
            ]
            stages.append(nn.ModuleList(blocks))
            in_channels = space.widths
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(space.widths, space.classes)

    def forward(self, x: Tensor, architecture: Sequence[int]) -> Tensor:
        """Compute one architecture on slices of the weights.

        Args:
            x: Images, `(batch, channels, height, width)`.
            architecture: Depth and width of each stage, each less one, `(2 * stages,)`.

        Returns:
            Logits, `(batch, classes)`.
        """
        h = F.relu(_sliced_batch_norm(self.stem_norm, self.stem(x)))
        width = self.space.stem
        for stage, blocks in enumerate(self.stages):
            depth, width = int(architecture[2 * stage]) + 1, int(architecture[2 * stage + 1]) + 1
            assert isinstance(blocks, nn.ModuleList)
            for block in list(blocks)[:depth]:
                h = block(h, width, None)
        return F.linear(h.mean((2, 3)), self.head.weight[:, :width], self.head.bias)

    def mixture(self, x: Tensor, stages: Sequence[tuple[Gates, Gates]]) -> Tensor:
        """Compute a mixture of architectures, weighted by gates.

        Args:
            x: Images, `(batch, channels, height, width)`.
            stages: Gates over depths and gates over widths of each stage, on the CPU.

        Returns:
            Logits, `(batch, classes)`.
        """
        h = F.relu(_sliced_batch_norm(self.stem_norm, self.stem(x)))
        max_width = self.space.widths
        for blocks, ((depths, depth_gates), (widths, width_gates)) in zip(self.stages, stages, strict=True):
            width_masks = torch.stack([(torch.arange(max_width) < w).float() for w in widths])
            mask = (width_gates @ width_masks)[None, :, None, None].to(x.device)
            depth_gates = depth_gates.to(x.device)
            assert isinstance(blocks, nn.ModuleList)
            mixed: Tensor | None = None
            for number, block in enumerate(list(blocks)[: max(depths)], 1):
                h = block(h, max_width, mask)
                for depth, gate in zip(depths, depth_gates, strict=True):
                    if depth == number:
                        mixed = gate * h if mixed is None else mixed + gate * h
            assert mixed is not None
            h = mixed
        logits: Tensor = self.head(h.mean((2, 3)))
        return logits
