"""Costs of networks of stages: linear in what each stage has of MACs, blocks and written elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from nascli.errors import NascliError
from nascli.spaces.staged import StagedSpace

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StagedCost:
    """A cost of a staged space's networks.

    Attributes:
        name: 'macs' or 'latency'.
        space: whose networks.
        constant: what every network costs.
        weights: `(stages + 1, 3)`, one for each of `StagedSpace.features`.
    """

    name: str
    space: StagedSpace
    constant: float
    weights: tuple[tuple[float, float, float], ...]

    def __call__(self, codes: npt.ArrayLike) -> Array:
        """`(n,)` costs."""
        total: Array = self.constant + (self.space.features(codes) * np.array(self.weights)).sum(axis=(1, 2))
        return total

    @property
    def minimum(self) -> float:
        """Of the smallest network."""
        return float(self(np.zeros((1, 2 * len(self.space.strides)), dtype=np.int16))[0])

    @property
    def maximum(self) -> float:
        """Of the largest one."""
        ends = [[self.space.depths - 1, self.space.widths - 1] * len(self.space.strides)]
        return float(self(np.array(ends, dtype=np.int16))[0])


def staged_macs(space: StagedSpace) -> StagedCost:
    """MACs, exactly."""
    return StagedCost(
        "macs", space, float(space.stem_macs), tuple((1.0, 0.0, 0.0) for _ in range(len(space.strides) + 1))
    )


def fit_staged_cost(
    space: StagedSpace, codes: npt.ArrayLike, seconds: npt.ArrayLike
) -> tuple[StagedCost, float]:
    """Latency from whole networks that were measured: non-negative least squares of the relative error.

    Args:
        space: whose networks.
        codes: `(n, 2 * stages)`.
        seconds: `(n,)` measured.

    Returns:
        the cost, and its mean relative error over networks left out one at a time.

    Raises:
        NascliError: fewer than eight networks.
    """
    rows, measured = space.check(codes), np.asarray(seconds, dtype=float)
    if len(rows) < 8:
        raise NascliError(
            f"a latency model of {space.name} needs at least 8 measured networks, got {len(rows)}"
        )
    features = space.features(rows)
    design = np.concatenate([features.reshape(len(rows), -1), np.ones((len(rows), 1))], axis=1)
    scale = np.maximum(design.max(axis=0), 1e-300)

    def solve(chosen: npt.NDArray[np.bool_]) -> Array:
        # Each equation over its own right side: errors count relative to what they are errors of.
        weights, _ = nnls((design / scale / measured[:, None])[chosen], np.ones(int(chosen.sum())))
        solution: Array = weights / scale
        return solution

    everything = np.ones(len(rows), dtype=bool)
    errors = []
    for left_out in range(len(rows)):
        others = everything.copy()
        others[left_out] = False
        errors.append(abs(float(design[left_out] @ solve(others)) / measured[left_out] - 1))
    weights = solve(everything)
    shaped = weights[:-1].reshape(features.shape[1:])
    cost = StagedCost(
        "latency", space, float(weights[-1]), tuple((float(a), float(b), float(c)) for a, b, c in shaped)
    )
    return cost, float(np.mean(errors))


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
