"""A single-path supernet: every candidate has its weights, and one path at a time is computed."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nascli.costmodel.chain import require_single_path
from nascli.spaces.space import Layer, Space
from nascli.supernet.initialise import align
from nascli.supernet.modules import ProgramModule


class Supernet(nn.Module):
    """All candidates of a single-path space, sharing nothing but their place.

    Args:
        space: a single-path space.
        aligned: start the candidates of a layer as nearly the same function (`supernet.initialise`).
        affine: scale and shift in batch normalisation. SPOS trains without; aligned starts need them.
    """

    def __init__(self, space: Space, *, aligned: bool = True, affine: bool = True) -> None:
        super().__init__()
        require_single_path(space, "this supernet")
        self.space = space
        self.blocks = nn.ModuleList(
            nn.ModuleList(ProgramModule(c.program, affine=affine) for c in block.candidates)
            if isinstance(block, Layer)
            else ProgramModule(block[1].program, affine=affine)
            for block in space.blocks
        )
        if aligned:
            for block in self.blocks:
                if isinstance(block, nn.ModuleList):
                    align(block)

    def path(self, code: Sequence[int]) -> list[ProgramModule]:
        """The blocks of one architecture, in evaluation order."""
        choices = iter(code)
        chosen = []
        for block in self.blocks:
            module = block[int(next(choices))] if isinstance(block, nn.ModuleList) else block
            assert isinstance(module, ProgramModule)
            chosen.append(module)
        return chosen

    def forward(self, x: Tensor, code: Sequence[int]) -> Tensor:
        """Logits `(batch, classes)` of one architecture."""
        for block in self.path(code):
            x = block(x)
        return x
