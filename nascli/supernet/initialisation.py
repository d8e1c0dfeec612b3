"""Aligned initialisation: the candidates of a layer start as nearly the same function.

With one path trained per step, candidates drawn independently leave each layer's output in an unrelated
basis, and the layers after it spend their first thousands of steps on the mixture. Here all candidates of
a layer are cut from one draw (leading channels, kernels centred, what exceeds 3x3 zero), and a residual
branch starts at zero. On small data this is the difference between a supernet that learns in twenty epochs
and one that does not.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn

from nascli.spaces.primitives import Add
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.modules import ProgramModule

_CORE = 3


def align_candidates(layer: nn.ModuleList) -> None:
    """Initialise all candidates of one layer from one draw of torch's generator."""
    alike: dict[tuple[bool, ...], list[list[NormalisedConv]]] = defaultdict(list)
    for candidate in layer:
        assert isinstance(candidate, ProgramModule)
        convs = [m for m in candidate.children() if isinstance(m, NormalisedConv)]
        # Only candidates built alike can share a draw: as many convolutions, grouped in the same places.
        alike[tuple(m.conv.groups > 1 for m in convs)].append(convs)
        nodes = candidate.program.nodes
        if convs and nodes and isinstance(nodes[-1].primitive, Add):
            _silence(convs[-1])
    for members in alike.values():
        for alike_convs in zip(*members, strict=True):
            _cut([m.conv.weight for m in alike_convs])


def _silence(last: NormalisedConv) -> None:
    if last.norm is not None and last.norm.affine:
        nn.init.zeros_(last.norm.weight)


def _cut(weights: list[Tensor]) -> None:
    shape = [max(w.shape[axis] for w in weights) for axis in range(4)]
    draw = torch.randn(shape)
    for weight in weights:
        out, per_group, height, width = weight.shape
        top, left = (shape[2] - height) // 2, (shape[3] - width) // 2
        values = draw[:out, :per_group, top : top + height, left : left + width]
        values = values * _core(height)[:, None] * _core(width)[None, :]
        # Unit rows: normalisation makes the scale irrelevant, but not that rows are alike.
        norm = values.flatten(1).norm(dim=1).mean()
        with torch.no_grad():
            weight.copy_(values / norm)


def _core(size: int) -> Tensor:
    mask = torch.zeros(size)
    margin = max(0, (size - _CORE) // 2)
    mask[margin : size - margin] = 1
    return mask
