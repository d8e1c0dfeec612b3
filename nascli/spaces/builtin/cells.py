"""Spaces of DAG cells, which AutoSpace learns and every other algorithm can search."""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.blocks import FixedBlock, Layer
from nascli.spaces.builtin.stages import Stage, check_macro, scaled, stage_blocks
from nascli.spaces.operators.basic import conv_block, head, identity
from nascli.spaces.operators.dag_cell import EDGE_OPERATORS, EDGES, cell
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Shape
from nascli.spaces.registry import space_factory
from nascli.spaces.space import Space

# Genes of the reference cell (an inverted residual) with kernels 3, 5, and 7.
INVERTED_RESIDUALS = "10200110.10300110.10400110"
SMALL_STAGES = (Stage(16, 1, 1), Stage(24, 3, 2), Stage(48, 3, 2))
STAGES = (
    Stage(16, 1, 1),
    Stage(24, 4, 2),
    Stage(40, 4, 2),
    Stage(80, 4, 2),
    Stage(96, 4, 1),
    Stage(192, 4, 2),
)
_MAX_TEXT = 20_000


def _parse(text: str, layers: int) -> list[list[tuple[int, ...]]]:
    """Read the genes of the cells of every layer; those of a single layer hold for all layers."""
    if len(text) > _MAX_TEXT:
        raise SpaceError(f"cells take at most {_MAX_TEXT} characters, got {len(text)}")
    cells = []
    for layer_text in text.split("-"):
        layer_cells = []
        for digits in layer_text.split("."):
            if len(digits) != len(EDGES) + 2 or not digits.isascii() or not digits.isdigit():
                raise SpaceError(
                    f"a cell is {len(EDGES) + 2} digits (edges, expanded node, join), got {digits!r}"
                )
            layer_cells.append(tuple(int(digit) for digit in digits))
        cells.append(layer_cells)
    if len(cells) == 1:
        cells = cells * layers
    if len(cells) != layers:
        raise SpaceError(f"the space has {layers} layers, got cells for {len(cells)}")
    return cells


def cell_of(shape: Shape, out: int, stride: int, genes: tuple[int, ...]) -> Operator:
    """Return the cell that genes describe.

    Args:
        shape: Input shape.
        out: Number of output channels.
        stride: Stride of the cell.
        genes: `(8,)` the operators of the six edges, the expanded node, and the join (0 adds, 1 concatenates).

    Raises:
        SpaceError: A gene is out of range, or no path leads from the input to the output.
    """
    if max(genes[:6]) >= len(EDGE_OPERATORS) or genes[6] > 2 or genes[7] > 1:
        raise SpaceError(
            f"edges are 0..{len(EDGE_OPERATORS) - 1}, the expanded node 0..2, the join 0 or 1: {genes}"
        )
    join = "concat" if genes[7] else "add"
    return cell(shape, out, edges=genes[:6], expanded=genes[6], join=join, stride=stride)


def _space(
    name: str,
    stages: tuple[Stage, ...],
    cells: str,
    *,
    skip: bool,
    resolution: int,
    width: float,
    classes: int,
    channels: int,
    stride: int,
    features: int,
) -> Space:
    check_macro(resolution, width, classes, channels)
    stem = conv_block((channels, resolution, resolution), 16, stride=stride)
    descriptions = list(stage_blocks(stem.output, scaled(list(stages), width)))
    layers = []
    for (layer_name, shape, out, layer_stride), layer_cells in zip(
        descriptions, _parse(cells, len(descriptions)), strict=True
    ):
        candidates = [cell_of(shape, out, layer_stride, genes) for genes in dict.fromkeys(layer_cells)]
        if skip and candidates[0].output == shape:
            candidates.append(identity(shape))
        layers.append(Layer(layer_name, tuple(candidates)))
    tail = head(layers[-1].output, classes, features=features)
    return Space(name, (), (FixedBlock("stem", stem), *layers, FixedBlock("head", tail)))


@space_factory("autospace")
def autospace(
    *,
    cells: str = INVERTED_RESIDUALS,
    skip: bool = True,
    resolution: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    channels: int = 3,
) -> Space:
    """AutoSpace's 21 layers of DAG cells; by default inverted residuals of kernels 3, 5 and 7."""
    return _space(
        "autospace",
        STAGES,
        cells,
        skip=skip,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
        stride=2,
        features=1280,
    )


@space_factory("autospace-mini")
def autospace_mini(
    *,
    cells: str = INVERTED_RESIDUALS,
    skip: bool = True,
    resolution: int = 14,
    width: float = 1.0,
    classes: int = 10,
    channels: int = 1,
) -> Space:
    """AutoSpace's cells in 7 thin layers for small images."""
    return _space(
        "autospace-mini",
        SMALL_STAGES,
        cells,
        skip=skip,
        resolution=resolution,
        width=width,
        classes=classes,
        channels=channels,
        stride=1,
        features=128,
    )
