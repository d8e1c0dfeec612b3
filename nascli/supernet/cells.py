"""AutoSpace's supernet: K cells per layer, of which one path is drawn; its gates carry the fitness's gradient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nascli.spaces.operators import Operator
from nascli.supernet.initialise import align
from nascli.supernet.modules import ProgramModule


class CellSupernet(nn.Module):
    """A stem, layers of cells, and a head.

    Args:
        stem, head: fixed operators.
        layers: per layer its cells.
    """

    def __init__(self, stem: Operator, layers: Sequence[Sequence[Operator]], head: Operator) -> None:
        super().__init__()
        self.stem = ProgramModule(stem.program)
        self.head = ProgramModule(head.program)
        self.layers = nn.ModuleList(
            nn.ModuleList(ProgramModule(cell.program) for cell in cells) for cells in layers
        )
        for cells in self.layers:
            assert isinstance(cells, nn.ModuleList)
            align(cells)
        self.fitness = [torch.zeros(len(cells), requires_grad=True) for cells in layers]

    def replace(self, layer: int, cells: Sequence[Operator]) -> None:
        """Put other cells into a layer; those that were there already keep their weights."""
        old = self.layers[layer]
        assert isinstance(old, nn.ModuleList)
        modules = [module for module in old if isinstance(module, ProgramModule)]
        known = {module.program.canonical: module for module in modules}
        fresh = nn.ModuleList(ProgramModule(cell.program) for cell in cells)
        align(fresh)
        self.layers[layer] = nn.ModuleList(
            known.pop(cell.program.canonical, new) for cell, new in zip(cells, fresh, strict=True)
        )

    def set_fitness(self, values: npt.NDArray[np.float64]) -> None:
        """The fitness of the cells in the supernet, `(layers, K)`."""
        self.fitness = [torch.tensor(row, dtype=torch.float32, requires_grad=True) for row in values]

    def gradients(self) -> npt.NDArray[np.float64]:
        """What the steps since the last call would change the fitness by, `(layers, K)`; forgotten then."""
        found = np.zeros((len(self.fitness), max(len(f) for f in self.fitness)))
        for layer, fitness in enumerate(self.fitness):
            if fitness.grad is not None:
                found[layer, : len(fitness)] = fitness.grad.double().numpy()
                fitness.grad = None
        return found

    def forward(self, x: Tensor, code: Sequence[int]) -> Tensor:
        """Logits of one path. Each cell's output is gated by its probability over itself, which is 1, so that
        the probability receives the gradient of the loss along the output."""
        h: Tensor = self.stem(x)
        for cells, fitness, index in zip(self.layers, self.fitness, code, strict=True):
            assert isinstance(cells, nn.ModuleList)
            p = torch.softmax(fitness, 0)[int(index)]
            h = cells[int(index)](h) * (p / p.detach())
        result: Tensor = self.head(h)
        return result
