"""Cells that are directed acyclic graphs of small operators (AutoSpace).

A cell has four nodes, of which node 0 is the input and node 3 the output, and six edges: the lower triangle row by
row, (1,0), (2,0), (2,1), (3,0), (3,1), (3,2). Each edge has an index into `EDGE_OPERATORS`. Where the paper leaves
details open, they are such that 1x1, depthwise 3x3, 1x1 with an expanded node 1 is the inverted residual block.
"""

from __future__ import annotations

from nascli.errors import SpaceError
from nascli.spaces.operators.definition import Value, add, concat, conv, pool
from nascli.spaces.operators.registry import operator

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
EDGE_OPERATORS = ("none", "1x1", "dw3", "dw5", "dw7", "identity")
REFERENCE = (1, 0, 2, 0, 0, 1)
_KERNELS = {2: 3, 3: 5, 4: 7}


def _width(node: int, channels: int, out: int, expanded: int, expand: int) -> int:
    if node == 3:
        return out
    return channels * expand if 0 < expanded <= node else channels


def _edge(x: Value, kind: int, width: int, stride: int, act: str | None) -> Value:
    if kind == 1:
        return conv(x, width, 1, stride=stride, act=act)
    if x.channels != width:
        x = conv(x, width, 1)
    if kind in _KERNELS:
        return conv(x, width, _KERNELS[kind], stride=stride, groups=width, act=act)
    return pool(x, "avg", 3, stride=stride) if stride > 1 else x


def _merge(values: list[Value], width: int, join: str) -> Value:
    if join == "add" or len(values) == 1:
        return add(*values)
    return conv(concat(*values), width, 1)


@operator
def cell(
    x: Value,
    out: int,
    *,
    edges: tuple[int, ...] = REFERENCE,
    expanded: int = 1,
    expand: int = 6,
    join: str = "add",
    stride: int = 1,
    act: str = "relu6",
) -> Value:
    """A cell that is a directed acyclic graph of four nodes, with a residual where shapes are equal.

    Args:
        x: Input, node 0.
        out: Number of output channels.
        edges: For each of `EDGES`, an index into `EDGE_OPERATORS`.
        expanded: From this node on, all nodes before the output have `expand` times the channels of the input. With
            0, no node has. An edge between different numbers of channels begins with a 1x1.
        expand: Expansion ratio.
        join: Whether the edges into a node are summed ('add'), or concatenated and projected by a 1x1 ('concat').
        stride: Stride of the edges from nodes 0 and 1 into nodes 2 and 3.
        act: Activation after all edges but those into the output.

    Raises:
        SpaceError: An argument is out of range, or no path leads from the input to the output.
    """
    if len(edges) != len(EDGES) or not all(0 <= kind < len(EDGE_OPERATORS) for kind in edges):
        raise SpaceError(
            f"a cell has {len(EDGES)} edges with operators 0..{len(EDGE_OPERATORS) - 1}, got {edges}"
        )
    if expanded not in (0, 1, 2) or expand < 1:
        raise SpaceError(f"expanded in 0..2 and expand >= 1 must hold, got {expanded} and {expand}")
    if join not in ("add", "concat"):
        raise SpaceError(f"join is 'add' or 'concat', got {join!r}")
    nodes: dict[int, Value] = {0: x}
    for target in (1, 2, 3):
        width = _width(target, x.channels, out, expanded, expand)
        arriving = []
        for (to, source), kind in zip(EDGES, edges, strict=True):
            if to == target and kind and source in nodes:
                edge_stride = stride if source < 2 <= target else 1
                # Edges into the output are linear, like the last 1x1 of an inverted residual block.
                edge_act = None if target == 3 else act
                arriving.append(_edge(nodes[source], kind, width, edge_stride, edge_act))
        if arriving:
            nodes[target] = _merge(arriving, width, join)
    if 3 not in nodes:
        raise SpaceError(f"the cell's output is not reached from its input: edges {edges}")
    h = nodes[3]
    return add(x, h) if h.shape == x.shape else h


def roles(
    channels: int, out: int, edges: tuple[int, ...], expanded: int, expand: int, join: str
) -> list[tuple[str, int]]:
    """Return what each convolution of a cell is for, in the order in which `cell` appends them.

    Cells with the same input and output shape can share the weights of convolutions whose role and shape agree.

    Args:
        channels: Number of input channels.
        out: Number of output channels.
        edges, expanded, expand, join: Arguments of `cell`.

    Returns:
        For each convolution, its kind and the index of its edge (or of its node, for a join).
    """
    names: list[tuple[str, int]] = []
    widths = {0: channels}
    for target in (1, 2, 3):
        width = _width(target, channels, out, expanded, expand)
        arriving = 0
        for position, ((to, source), kind) in enumerate(zip(EDGES, edges, strict=True)):
            if to != target or not kind or source not in widths:
                continue
            arriving += 1
            if kind == 1:
                names.append(("1x1", position))
                continue
            if widths[source] != width:
                names.append(("width", position))
            if kind in _KERNELS:
                names.append((f"dw{_KERNELS[kind]}", position))
        if arriving > 1 and join == "concat":
            names.append((f"join{arriving}", target))
        if arriving:
            widths[target] = width
    return names
