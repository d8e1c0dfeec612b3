"""The runtime's own times of a network's nodes, summed by piece: a second opinion beside measured times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import NodeTime
from nascli.profiles.target import Target
from nascli.spaces.programs import Program, chain

# A node of a written model is named after the node of the program: n12, n12.gate, n12_nchwc, n12/QuickGeluFusion/.
_NAME = re.compile(r"n(\d+)(?![0-9A-Za-z])")
# The runtime's profile knows nothing of anchors, so the least of several is taken.
_PROFILES = 3


@dataclass(frozen=True)
class RuntimeOpinion:
    """The runtime's own times by piece.

    Attributes:
        nodes: For each piece, the nodes that belong to it alone, in the order in which they run.
        seconds: For each piece, the seconds of its nodes, with half of those of a node that lies between two pieces.
        shared: Seconds of nodes between two pieces, such as conversions of a layout, or what the runtime fused of both.
        unattributed: Seconds of nodes that no piece could be found for.
    """

    nodes: tuple[tuple[NodeTime, ...], ...]
    seconds: tuple[float, ...]
    shared: float
    unattributed: float


def ask_runtime(pieces: Sequence[Program], target: Target) -> RuntimeOpinion | None:
    """Have the runtime profile a chain of pieces.

    Args:
        pieces: The pieces, at least one.
        target: The device, the runtime, its options, and the batch.

    Returns:
        None if the runtime has no profile of its own.

    Raises:
        DeviceError: The runtime refuses the chain, or the device failed.
    """
    precision = target.runtime.precisions[target.options.precision]
    model = onnx_bytes(chain(pieces), target.batch, precision=precision)
    profiles = []
    for _ in range(_PROFILES):
        nodes = target.runtime.node_times(model, target.options)
        if nodes is None:
            return None
        profiles.append(nodes)
    owners = [number for number, piece in enumerate(pieces) for _ in piece.nodes]
    return attribute(least(profiles), owners)


def least(profiles: Sequence[Sequence[NodeTime]]) -> list[NodeTime]:
    """Return each node with the least of its times; profiles of other nodes than the first one's do not count."""
    first = profiles[0]
    like_it = [p for p in profiles if [n[:2] for n in p] == [n[:2] for n in first]]
    return [
        NodeTime(node.name, node.kind, min(profile[position].seconds for profile in like_it))
        for position, node in enumerate(first)
    ]


def attribute(nodes: Sequence[NodeTime], owners: Sequence[int]) -> RuntimeOpinion:
    """Attribute nodes to pieces.

    A node whose name tells the node of the program belongs to the piece of that, and a fused one to that of the first
    part. A node that the runtime added belongs where it runs: everything flows from one piece to the next through one
    value, so that whatever runs between two nodes of a piece is part of it. What runs between two pieces counts half
    for either.

    Args:
        nodes: The nodes in the order in which they ran.
        owners: For each node of the program the number of its piece, ascending.
    """
    count = owners[-1] + 1
    known = [_owner(node.name, owners) if count > 1 else 0 for node in nodes]
    own: list[list[NodeTime]] = [[] for _ in range(count)]
    seconds = [0.0] * count
    shared = unattributed = 0.0
    before = _filled(known, first=0)
    behind = _filled(known[::-1], first=count - 1)[::-1]
    for node, low, high in zip(nodes, before, behind, strict=True):
        if low == high:
            own[low].append(node)
            seconds[low] += node.seconds
        elif high == low + 1:
            shared += node.seconds
            seconds[low] += node.seconds / 2
            seconds[high] += node.seconds / 2
        else:
            unattributed += node.seconds
    return RuntimeOpinion(tuple(map(tuple, own)), tuple(seconds), shared, unattributed)


def _owner(name: str, owners: Sequence[int]) -> int | None:
    match = _NAME.match(name)
    number = int(match[1]) if match is not None else 0
    return owners[number - 1] if 1 <= number <= len(owners) else None


def _filled(known: Sequence[int | None], *, first: int) -> list[int]:
    """Return each entry, or the last known one before it."""
    filled = []
    for number in known:
        first = first if number is None else number
        filled.append(first)
    return filled
