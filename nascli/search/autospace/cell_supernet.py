"""AutoSpace's supernet: K cells per layer, which come and go; what they learned stays behind for others."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from nascli.spaces.builtin.cells import cell_of
from nascli.spaces.operators.dag_cell import roles
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.supernet.convolutions import NormalisedConv
from nascli.supernet.modules import ProgramModule

Genes = Sequence[tuple[int, ...]]
BlockShape = tuple[Shape, int, int]


class CellSupernet(nn.Module):
    """A stem, layers of cells, and a head.

    Args:
        stem: a fixed operator.
        places: per layer the shape that its cells take, their width and stride.
        genes: per layer the cells to begin with.
        head: a fixed operator.

    Attributes:
        bank: weights of cells that left, by layer, role of the convolution, and shape.
    """

    def __init__(
        self, stem: Operator, places: Sequence[BlockShape], genes: Sequence[Genes], head: Operator
    ) -> None:
        super().__init__()
        self.stem = ProgramModule(stem.program)
        self.head = ProgramModule(head.program)
        self._places = list(places)
        self._genes = [list(some) for some in genes]
        self.layers = nn.ModuleList(
            nn.ModuleList(ProgramModule(cell_of(*place, one).program) for one in some)
            for place, some in zip(places, genes, strict=True)
        )
        self.bank: dict[str, Tensor] = {}

    @property
    def blocks(self) -> list[nn.Module]:
        """In evaluation order; a layer is the list of its cells."""
        return [self.stem, *self.layers, self.head]

    def replace(self, genes: Sequence[Genes], *, keep: bool) -> None:
        """Put other cells into the layers.

        Args:
            genes: per layer its new cells; those that were there already stay as they are.
            keep: give the others the weights of their layer's last convolution of the same role and shape.
        """
        for layer, new in enumerate(genes):
            old: dict[tuple[int, ...], ProgramModule | None]
            old = dict(zip(self._genes[layer], self._cells(layer), strict=True))
            if keep:
                for one, cell in zip(self._genes[layer], self._cells(layer), strict=True):
                    self._deposit(layer, one, cell)
            made = []
            for one in new:
                module = old.pop(one, None)
                if module is None:
                    module = ProgramModule(cell_of(*self._places[layer], one).program)
                    if keep:
                        self._withdraw(layer, one, module)
                made.append(module)
            self.layers[layer] = nn.ModuleList(made)
            self._genes[layer] = list(new)

    def _cells(self, layer: int) -> list[ProgramModule]:
        cells = self.layers[layer]
        assert isinstance(cells, nn.ModuleList)
        return [cell for cell in cells if isinstance(cell, ProgramModule)]

    def _convolutions(
        self, layer: int, genes: tuple[int, ...], module: ProgramModule
    ) -> list[tuple[str, NormalisedConv]]:
        """The convolutions of a cell with the names that they have in the bank."""
        shape, out, _ = self._places[layer]
        join = "concat" if genes[7] else "add"
        named = roles(shape.channels, out, genes[:6], genes[6], 6, join)
        convolutions = [m for m in module.children() if isinstance(m, NormalisedConv)]
        return [
            (f"{layer}|{role}|{at}|{'x'.join(map(str, conv.conv.weight.shape))}", conv)
            for (role, at), conv in zip(named, convolutions, strict=True)
        ]

    def _deposit(self, layer: int, genes: tuple[int, ...], module: ProgramModule) -> None:
        for name, conv in self._convolutions(layer, genes, module):
            for key, value in conv.state_dict().items():
                self.bank[f"{name}|{key}"] = value.detach().clone()

    def _withdraw(self, layer: int, genes: tuple[int, ...], module: ProgramModule) -> None:
        for name, conv in self._convolutions(layer, genes, module):
            own = conv.state_dict()
            if all(f"{name}|{key}" in self.bank for key in own):
                conv.load_state_dict({key: self.bank[f"{name}|{key}"] for key in own})

    def forward(self, x: Tensor, code: Sequence[int]) -> Tensor:
        """Logits `(batch, classes)` of one path."""
        h: Tensor = self.stem(x)
        for cells, index in zip(self.layers, code, strict=True):
            assert isinstance(cells, nn.ModuleList)
            h = cells[int(index)](h)
        result: Tensor = self.head(h)
        return result
