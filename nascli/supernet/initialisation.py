"""Aligned initialisation: all candidates of a layer start as nearly the same function.

One path is trained per step. Candidates that are drawn independently leave the output of each layer in an unrelated
basis, and the layers after it spend their first thousands of steps on the mixture. Here all candidates of a layer are
cut from one random draw (leading channels, centred kernels, zeros outside the central 3 x 3 weights), and a residual
branch starts at zero. On small data, a supernet then learns within twenty epochs, and does not without it.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from nascli.spaces.primitives import Add
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.modules import ProgramModule

# Height and width of the part of a kernel that is not zero at the start.
_CORE = 3


def align_candidates(layer: nn.ModuleList) -> None:
    """Initialise all candidates of a layer from one draw of torch's global generator, in place.

    Args:
        layer: The layer's candidates, each a `ProgramModule`.
    """
    # Candidates share a draw if they have the same number of convolutions, grouped at the same positions.
    convolutions: dict[tuple[bool, ...], list[list[NormalisedConv]]] = defaultdict(list)
    for candidate in layer:
        assert isinstance(candidate, ProgramModule)
        convs = [m for m in candidate.children() if isinstance(m, NormalisedConv)]
        convolutions[tuple(m.conv.groups > 1 for m in convs)].append(convs)
        nodes = candidate.program.nodes
        if convs and nodes and isinstance(nodes[-1].primitive, Add):
            _zero_residual_branch(convs[-1])
    for candidates in convolutions.values():
        for corresponding in zip(*candidates, strict=True):
            _cut_from_one_draw([m.conv.weight for m in corresponding])


def _zero_residual_branch(last: NormalisedConv) -> None:
    if last.norm is not None and last.norm.affine:
        nn.init.zeros_(last.norm.weight)


def _cut_from_one_draw(weights: list[Tensor]) -> None:
    shape = [max(w.shape[axis] for w in weights) for axis in range(4)]
    draw = torch.randn(shape)
    for weight in weights:
        out, per_group, height, width = weight.shape
        top, left = (shape[2] - height) // 2, (shape[3] - width) // 2
        values = draw[:out, :per_group, top : top + height, left : left + width]
        values = values * _core_mask(height)[:, None] * _core_mask(width)[None, :]
        # Normalisation makes the scale irrelevant, but not the ratio between rows: all are divided by the same number.
        norm = values.flatten(1).norm(dim=1).mean()
        with torch.no_grad():
            weight.copy_(values / norm)


def _core_mask(size: int) -> Tensor:
    mask = torch.zeros(size)
    margin = max(0, (size - _CORE) // 2)
    mask[margin : size - margin] = 1
    return mask
