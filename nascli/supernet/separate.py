"""A supernet: every candidate has its weights, and the chosen candidates alone are computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from nascli.spaces.blocks import Layer
from nascli.spaces.space import Space
from nascli.supernet.initialisation import align_candidates
from nascli.supernet.modules import ProgramModule


class BranchMean(nn.Module):
    """The chosen branches of a layer: their mean, a normal layer's input among them (NSE, Eq. 1)."""

    def __init__(self, branches: Sequence[nn.Module], with_input: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.with_input = with_input

    def forward(self, x: Tensor) -> Tensor:
        """Evaluate; without a branch a normal layer is skipped."""
        total = x if self.with_input else None
        for branch in self.branches:
            h = branch(x)
            total = h if total is None else total + h
        assert total is not None
        addends = len(self.branches) + self.with_input
        return total if addends == 1 else total / addends


class Supernet(nn.Module):
    """All candidates of a space, sharing nothing but their place.

    Args:
        space: single-path or multi-branch.
        aligned: start the candidates of a layer as nearly the same function (`nascli.supernet.initialisation`).
        affine: scale and shift in batch normalisation. SPOS trains without; aligned starts need them.
    """

    def __init__(self, space: Space, *, aligned: bool = True, affine: bool = True) -> None:
        super().__init__()
        self.space = space
        self.blocks = nn.ModuleList(
            nn.ModuleList(ProgramModule(c.program, affine=affine) for c in block.candidates)
            if isinstance(block, Layer)
            else ProgramModule(block.operator.program, affine=affine)
            for block in space.blocks
        )
        if aligned:
            for block in self.blocks:
                if isinstance(block, nn.ModuleList):
                    align_candidates(block)

    def path(self, code: Sequence[int]) -> list[nn.Module]:
        """The blocks of one architecture, in evaluation order."""
        choices = iter(code)
        return [
            self.choice(position, int(next(choices))) if isinstance(block, nn.ModuleList) else block
            for position, block in enumerate(self.blocks)
        ]

    def choice(self, position: int, code: int) -> nn.Module:
        """What a code selects at a position that is a layer."""
        layer, candidates = self.space.blocks[position], self.blocks[position]
        assert isinstance(layer, Layer) and isinstance(candidates, nn.ModuleList)
        chosen = [candidates[index] for index in layer.chosen(code)]
        return chosen[0] if layer.join == "single" else BranchMean(chosen, layer.join == "normal")

    def forward(self, x: Tensor, code: Sequence[int]) -> Tensor:
        """Logits `(batch, classes)` of one architecture."""
        for block in self.path(code):
            x = block(x)
        return x


def uniform_branches(
    layers: Sequence[Layer], alive: Sequence[npt.NDArray[np.bool_]], rng: np.random.Generator
) -> list[int]:
    """Each remaining operation with probability one half, given that the layer allows the outcome.

    Subsets are equally likely before the condition, so after it they are uniform over what is allowed; nothing
    is drawn again, however rare that is.
    """
    return [int(layer.sample(1, rng, left)[0]) for layer, left in zip(layers, alive, strict=True)]
