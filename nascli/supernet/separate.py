"""A supernet whose candidates have separate weights; the chosen candidates alone are computed."""

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
    """The mean of the chosen branches of a layer (NSE, Eq. 1).

    Args:
        branches: Modules of the chosen branches, with outputs of one shape.
        with_input: Whether the layer's input is one more branch, as in a normal layer. If no branch is chosen, such a
            layer returns its input.
    """

    def __init__(self, branches: Sequence[nn.Module], with_input: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.with_input = with_input

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean output for `(batch, channels, height, width)`."""
        total = x if self.with_input else None
        for branch in self.branches:
            h = branch(x)
            total = h if total is None else total + h
        assert total is not None
        addends = len(self.branches) + self.with_input
        return total if addends == 1 else total / addends


class Supernet(nn.Module):
    """All candidates of a space, each with its own weights.

    Args:
        space: Single-path or multi-branch space.
        aligned: Whether the candidates of a layer start as nearly the same function
            (`nascli.supernet.initialisation`).
        affine: Whether batch normalisation has a learned scale and shift. SPOS trains without; aligned candidates need
            them.

    Attributes:
        space: The space.
        blocks: Modules in evaluation order; a layer is a `ModuleList` of its candidates.
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

    def path(self, architecture: Sequence[int]) -> list[nn.Module]:
        """Return the modules of one architecture, in evaluation order.

        Args:
            architecture: Choice of each layer, `(layers,)`.
        """
        choices = iter(architecture)
        return [
            self.chosen_module(position, int(next(choices))) if isinstance(block, nn.ModuleList) else block
            for position, block in enumerate(self.blocks)
        ]

    def chosen_module(self, position: int, choice: int) -> nn.Module:
        """Return the module that a choice selects in a layer.

        Args:
            position: Index of the layer among the blocks.
            choice: Index of a candidate; in a multi-branch layer, the bit set of its branches.
        """
        layer, candidates = self.space.blocks[position], self.blocks[position]
        assert isinstance(layer, Layer) and isinstance(candidates, nn.ModuleList)
        chosen = [candidates[index] for index in layer.chosen(choice)]
        return chosen[0] if layer.join == "single" else BranchMean(chosen, layer.join == "normal")

    def forward(self, x: Tensor, architecture: Sequence[int]) -> Tensor:
        """Compute one architecture.

        Args:
            x: Images, `(batch, channels, height, width)`.
            architecture: Choice of each layer, `(layers,)`.

        Returns:
            Logits, `(batch, classes)`.
        """
        for block in self.path(architecture):
            x = block(x)
        return x


def sample_branches(
    layers: Sequence[Layer], remaining: Sequence[npt.NDArray[np.bool_]], rng: np.random.Generator
) -> list[int]:
    """Draw a multi-branch architecture: each remaining branch with probability one half, as far as layers allow it.

    Without the layers' rules all subsets of the remaining branches are equally likely, so under them the allowed
    subsets are. They are drawn directly, without rejection.

    Args:
        layers: Layers of a multi-branch space.
        remaining: Whether each branch may be drawn, `(branches,)` per layer.
        rng: Generator of the draws.

    Returns:
        Choice of each layer: the bit set of its branches.
    """
    return [int(layer.sample(1, rng, mask)[0]) for layer, mask in zip(layers, remaining, strict=True)]
