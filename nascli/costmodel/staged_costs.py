"""Costs of staged spaces, which are linear in the MACs, blocks, and written elements of each stage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from nascli.errors import NascliError
from nascli.spaces.staged import StagedSpace

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Range = tuple[int, int, int, int]
_MIN_NETWORKS = 8


@dataclass(frozen=True)
class StagedCost:
    """A linear cost of the networks of a staged space.

    Attributes:
        name: 'macs' or 'latency'.
        space: The space.
        constant: Cost that all networks share, in SI units.
        weights: `(stages + 1, 3)` weights of `StagedSpace.features`.
    """

    name: str
    space: StagedSpace
    constant: float
    weights: tuple[tuple[float, float, float], ...]

    def __call__(self, population: npt.ArrayLike) -> Array:
        """Return the `(n,)` costs of `(n, 2 * stages)` architectures."""
        total: Array = self.constant + (self.space.features(population) * np.array(self.weights)).sum(
            axis=(1, 2)
        )
        return total

    @property
    def minimum(self) -> float:
        """Cost of the smallest network."""
        return float(self(np.zeros((1, 2 * len(self.space.strides)), dtype=np.int16))[0])

    @property
    def maximum(self) -> float:
        """Cost of the largest network."""
        largest = [[self.space.depths - 1, self.space.widths - 1] * len(self.space.strides)]
        return float(self(np.array(largest, dtype=np.int16))[0])


def staged_macs(space: StagedSpace) -> StagedCost:
    """Return the MACs of a staged space, exactly."""
    return StagedCost(
        "macs", space, float(space.stem_macs), tuple((1.0, 0.0, 0.0) for _ in range(len(space.strides) + 1))
    )


def fit_staged_cost(
    space: StagedSpace, population: npt.ArrayLike, seconds: npt.ArrayLike
) -> tuple[StagedCost, float]:
    """Fit latency to measured networks by non-negative least squares of the relative error.

    Args:
        space: The space.
        population: `(n, 2 * stages)` architectures.
        seconds: `(n,)` measured latencies in seconds.

    Returns:
        The cost, and its mean absolute relative error under leave-one-out cross-validation.

    Raises:
        NascliError: There are fewer than eight networks.
    """
    rows, measured = space.check(population), np.asarray(seconds, dtype=float)
    if len(rows) < _MIN_NETWORKS:
        raise NascliError(
            f"a latency model of {space.name} needs at least {_MIN_NETWORKS} measured networks, got {len(rows)}"
        )
    features = space.features(rows)
    design = np.concatenate([features.reshape(len(rows), -1), np.ones((len(rows), 1))], axis=1)
    scale = np.maximum(design.max(axis=0), 1e-300)

    def solve(fitted: npt.NDArray[np.bool_]) -> Array:
        # Each equation is divided by its right side, so that the squared errors are relative.
        weights, _ = nnls((design / scale / measured[:, None])[fitted], np.ones(int(fitted.sum())))
        solution: Array = weights / scale
        return solution

    all_rows = np.ones(len(rows), dtype=bool)
    errors = []
    for left_out in range(len(rows)):
        others = all_rows.copy()
        others[left_out] = False
        errors.append(abs(float(design[left_out] @ solve(others)) / measured[left_out] - 1))
    weights = solve(all_rows)
    shaped = weights[:-1].reshape(features.shape[1:])
    cost = StagedCost(
        "latency", space, float(weights[-1]), tuple((float(a), float(b), float(c)) for a, b, c in shaped)
    )
    return cost, float(np.mean(errors))


def count_within(
    space: StagedSpace, low: float, high: float, ranges: Sequence[Range] | None = None
) -> tuple[int, int]:
    """Count the networks of a staged space whose MACs lie in [low, high], exactly.

    The MACs of a stage depend on its depth, its width, and the width of the stage before. For every width of a stage,
    the sums up to there are listed, and the last stage looks up by binary search which of them are within the bounds.

    Args:
        space: The space.
        low: Minimum number of MACs.
        high: Maximum number of MACs, or inf.
        ranges: For each stage, minimum and maximum depth, minimum and maximum width; by default the whole space.

    Returns:
        The number of networks within the bounds, and the number of all networks of the ranges.

    Raises:
        NascliError: The ranges are not ranges of this space.
    """
    limits = [(1, space.depths, 1, space.widths)] * len(space.strides) if ranges is None else list(ranges)
    if len(limits) != len(space.strides) or any(
        not (1 <= a <= b <= space.depths and 1 <= c <= d <= space.widths) for a, b, c, d in limits
    ):
        raise NascliError(f"{limits} are no ranges of {space.name}'s depths and widths.")
    total = 1
    for shallow, deep, narrow, wide in limits:
        total *= (deep - shallow + 1) * (wide - narrow + 1)
    if high == math.inf and low <= 0:
        return total, total
    sums = {space.stem: np.array([space.stem_macs], dtype=np.int64)}
    for stage in range(len(limits) - 1):
        sums = {
            width: np.sort(
                np.concatenate(
                    [
                        (macs[:, None] + _stage_macs(space, stage, limits[stage], before, width)).ravel()
                        for before, macs in sums.items()
                    ]
                )
            )
            for width in range(limits[stage][2], limits[stage][3] + 1)
        }
    last, within = len(limits) - 1, 0
    for before, macs in sums.items():
        for width in range(limits[last][2], limits[last][3] + 1):
            rest = _stage_macs(space, last, limits[last], before, width) + width * space.classes
            first = np.searchsorted(macs, np.ceil(low) - rest, side="left")
            beyond = np.searchsorted(macs, np.floor(high) - rest, side="right")
            within += int((beyond - first).clip(min=0).sum())
    return within, total


def _stage_macs(space: StagedSpace, stage: int, limits: Range, before: int, width: int) -> Ints:
    """Return the MACs of a stage for each of its depths; `before` is the width of the stage before."""
    shallow, deep, _, _ = limits
    height, across = space.input.height, space.input.width
    for stride in space.strides[: stage + 1]:
        height, across = -(-height // stride), -(-across // stride)
    projected = before != width or space.strides[stage] != 1
    first = 9 * before * width + 9 * width**2 + before * width * projected
    depths = np.arange(shallow, deep + 1, dtype=np.int64)
    return height * across * (first + (depths - 1) * 18 * width**2)
