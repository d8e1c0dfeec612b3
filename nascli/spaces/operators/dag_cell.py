"""A cell as a DAG of small operators (AutoSpace).

Four nodes; node 0 is the input, node 3 the output. Six edges, the lower triangle row by row:
(1,0), (2,0), (2,1), (3,0), (3,1), (3,2), each with an operator's code. What the paper leaves open is
chosen so that the chain 1x1, depthwise 3x3, 1x1 with node 1 expanded is the inverted residual block.
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


def _edge(x: Value, code: int, width: int, stride: int, act: str | None) -> Value:
    if code == 1:
        return conv(x, width, 1, stride=stride, act=act)
    if x.channels != width:
        x = conv(x, width, 1)
    if code in _KERNELS:
        return conv(x, width, _KERNELS[code], stride=stride, groups=width, act=act)
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
    """A DAG cell.

    Widths: the expanded node and those after it, up to the output, have `expand` times the input's
    channels (0: none has). An edge whose ends differ in width begins with a 1x1. The stride lies on
    edges from nodes 0 and 1 into nodes 2 and 3. A residual joins equal shapes.
    """
    if len(edges) != len(EDGES) or not all(0 <= code < len(EDGE_OPERATORS) for code in edges):
        raise SpaceError(f"a cell has {len(EDGES)} edges of codes 0..{len(EDGE_OPERATORS) - 1}, got {edges}")
    if expanded not in (0, 1, 2) or expand < 1:
        raise SpaceError(f"expanded in 0..2 and expand >= 1 must hold, got {expanded} and {expand}")
    if join not in ("add", "concat"):
        raise SpaceError(f"join is 'add' or 'concat', got {join!r}")
    nodes: dict[int, Value] = {0: x}
    for target in (1, 2, 3):
        width = _width(target, x.channels, out, expanded, expand)
        arriving = []
        for (to, source), code in zip(EDGES, edges, strict=True):
            if to == target and code and source in nodes:
                crossing = stride if source < 2 <= target else 1
                # Edges into the output are linear, as the last 1x1 of an inverted residual is.
                after = None if target == 3 else act
                arriving.append(_edge(nodes[source], code, width, crossing, after))
        if arriving:
            nodes[target] = _merge(arriving, width, join)
    if 3 not in nodes:
        raise SpaceError(f"the cell's output is not reached from its input: edges {edges}")
    h = nodes[3]
    return add(x, h) if h.shape == x.shape else h


def roles(
    channels: int, out: int, edges: tuple[int, ...], expanded: int, expand: int, join: str
) -> list[tuple[str, int]]:
    """What each convolution of a cell is for, in the order in which `cell` makes them.

    Two cells of one place whose convolutions have a role and a shape in common can share its weights.
    """
    found: list[tuple[str, int]] = []
    widths = {0: channels}
    for target in (1, 2, 3):
        width = _width(target, channels, out, expanded, expand)
        arriving = 0
        for position, ((to, source), code) in enumerate(zip(EDGES, edges, strict=True)):
            if to != target or not code or source not in widths:
                continue
            arriving += 1
            if code == 1:
                found.append(("1x1", position))
                continue
            if widths[source] != width:
                found.append(("width", position))
            if code in _KERNELS:
                found.append((f"dw{_KERNELS[code]}", position))
        if arriving > 1 and join == "concat":
            found.append((f"join{arriving}", target))
        if arriving:
            widths[target] = width
    return found
