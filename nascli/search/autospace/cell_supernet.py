"""The supernet of AutoSpace: K cells per layer, which come and go and leave their weights to others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nascli.search.autospace.search import BlockShape, Genes
from nascli.spaces.builtin.cells import cell_of
from nascli.spaces.operators.dag_cell import roles
from nascli.spaces.operators.definition import Operator
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.modules import ProgramModule


class CellSupernet(nn.Module):
    """A stem, layers of cells, and a head.

    Args:
        stem: A fixed operator.
        block_shapes: Per layer the shape of its cells.
        genes: Per layer its first cells.
        head: A fixed operator.

    Attributes:
        bank: The weights of cells that left, by layer, role and number of the convolution, shape, and tensor.
    """

    def __init__(
        self,
        stem: Operator,
        block_shapes: Sequence[BlockShape],
        genes: Sequence[Sequence[Genes]],
        head: Operator,
    ) -> None:
        super().__init__()
        self.stem = ProgramModule(stem.program)
        self.head = ProgramModule(head.program)
        self._block_shapes = list(block_shapes)
        self._genes = [list(cells) for cells in genes]
        self.layers = nn.ModuleList(
            nn.ModuleList(ProgramModule(cell_of(*shape, cell).program) for cell in cells)
            for shape, cells in zip(block_shapes, genes, strict=True)
        )
        self.bank: dict[str, Tensor] = {}

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks in evaluation order; a layer is the list of its cells."""
        return [self.stem, *self.layers, self.head]

    def replace(self, genes: Sequence[Sequence[Genes]], *, keep: bool) -> None:
        """Put other cells into the layers.

        Args:
            genes: Per layer its new cells; a cell that is there already stays as it is.
            keep: Whether a new cell begins with the weights that the last convolution of the same layer, role, and
                shape left in the bank.
        """
        for layer, new_cells in enumerate(genes):
            old_cells = list(zip(self._genes[layer], self._cells(layer), strict=True))
            if keep:
                for cell, module in old_cells:
                    self._store_weights(layer, cell, module)
            reusable = dict(old_cells)
            modules = []
            for cell in new_cells:
                # A module serves once: the second of two equal cells is a new one.
                if cell in reusable:
                    modules.append(reusable.pop(cell))
                    continue
                module = ProgramModule(cell_of(*self._block_shapes[layer], cell).program)
                if keep:
                    self._load_weights(layer, cell, module)
                modules.append(module)
            self.layers[layer] = nn.ModuleList(modules)
            self._genes[layer] = list(new_cells)

    def _cells(self, layer: int) -> list[ProgramModule]:
        cells = self.layers[layer]
        assert isinstance(cells, nn.ModuleList)
        return [cell for cell in cells if isinstance(cell, ProgramModule)]

    def _convolutions(
        self, layer: int, genes: Genes, module: ProgramModule
    ) -> list[tuple[str, NormalisedConv]]:
        """Return the convolutions of a cell with their names in the bank."""
        shape, out, _ = self._block_shapes[layer]
        join = "concat" if genes[7] else "add"
        named = roles(shape.channels, out, genes[:6], genes[6], 6, join)
        convolutions = [child for child in module.children() if isinstance(child, NormalisedConv)]
        return [
            (f"{layer}|{role}|{number}|{'x'.join(map(str, convolution.conv.weight.shape))}", convolution)
            for (role, number), convolution in zip(named, convolutions, strict=True)
        ]

    def _store_weights(self, layer: int, genes: Genes, module: ProgramModule) -> None:
        for name, convolution in self._convolutions(layer, genes, module):
            for key, value in convolution.state_dict().items():
                self.bank[f"{name}|{key}"] = value.detach().clone()

    def _load_weights(self, layer: int, genes: Genes, module: ProgramModule) -> None:
        for name, convolution in self._convolutions(layer, genes, module):
            keys = convolution.state_dict().keys()
            if all(f"{name}|{key}" in self.bank for key in keys):
                convolution.load_state_dict({key: self.bank[f"{name}|{key}"] for key in keys})

    def forward(self, x: Tensor, path: Sequence[int]) -> Tensor:
        """Return the logits of one path.

        Args:
            x: `(batch, channels, height, width)` images.
            path: Per layer the number of its cell.

        Returns:
            `(batch, classes)` logits.
        """
        h: Tensor = self.stem(x)
        for cells, index in zip(self.layers, path, strict=True):
            assert isinstance(cells, nn.ModuleList)
            h = cells[int(index)](h)
        result: Tensor = self.head(h)
        return result
