"""How many networks of stages lie within a window of MACs: counted, not sampled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nascli.errors import NascliError
from nascli.spaces.staged import StagedSpace

Ints = npt.NDArray[np.int64]
Range = tuple[int, int, int, int]


def count_within(
    space: StagedSpace, low: float, high: float, ranges: Sequence[Range] | None = None
) -> tuple[int, int]:
    """Exactly how many networks have MACs in [low, high], and how many there are.

    A stage's MACs depend on its depth and on the widths before and in it. So for each width of a stage all sums up to
    there are listed, and the last stage looks its own up among them.

    Args:
        space: of stages.
        low: fewest MACs.
        high: most MACs.
        ranges: per stage least and most depth, least and most width; by default the whole space.

    Raises:
        NascliError: ranges that are not of this space.
    """
    given = [(1, space.depths, 1, space.widths)] * len(space.strides) if ranges is None else list(ranges)
    if len(given) != len(space.strides) or any(
        not (1 <= a <= b <= space.depths and 1 <= c <= d <= space.widths) for a, b, c, d in given
    ):
        raise NascliError(f"{list(given)} are no ranges of {space.name}'s depths and widths.")
    total = 1
    for shallow, deep, narrow, wide in given:
        total *= (deep - shallow + 1) * (wide - narrow + 1)
    sums = {space.stem: np.array([space.stem_macs], dtype=np.int64)}
    for stage in range(len(given) - 1):
        sums = {
            width: np.sort(
                np.concatenate(
                    [
                        (known[:, None] + _stage(space, stage, given[stage], before, width)[None, :]).ravel()
                        for before, known in sums.items()
                    ]
                )
            )
            for width in range(given[stage][2], given[stage][3] + 1)
        }
    last, inside = len(given) - 1, 0
    for before, known in sums.items():
        known = np.sort(known)
        for width in range(given[last][2], given[last][3] + 1):
            rest = _stage(space, last, given[last], before, width) + width * space.classes
            first = np.searchsorted(known, np.ceil(low) - rest, side="left")
            beyond = np.searchsorted(known, np.floor(high) - rest, side="right")
            inside += int((beyond - first).clip(min=0).sum())
    return inside, total


def _stage(space: StagedSpace, stage: int, limits: Range, before: int, width: int) -> Ints:
    """MACs of a stage, one for each of its depths."""
    shallow, deep, _, _ = limits
    height, across = space.input.height, space.input.width
    for stride in space.strides[: stage + 1]:
        height, across = -(-height // stride), -(-across // stride)
    projected = before != width or space.strides[stage] != 1
    first = 9 * before * width + 9 * width**2 + before * width * projected
    depths = np.arange(shallow, deep + 1, dtype=np.int64)
    return height * across * (first + (depths - 1) * 18 * width**2)
