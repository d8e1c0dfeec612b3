"""Costs of networks of stages: linear in what each stage has of MACs, blocks and written elements."""

from __future__ import annotations

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
    def least(self) -> float:
        """Of the smallest network."""
        return float(self(np.zeros((1, 2 * len(self.space.strides)), dtype=np.int16))[0])

    @property
    def most(self) -> float:
        """Of the largest one."""
        ends = [[self.space.depths - 1, self.space.widths - 1] * len(self.space.strides)]
        return float(self(np.array(ends, dtype=np.int16))[0])


def staged_macs(space: StagedSpace) -> StagedCost:
    """MACs, exactly."""
    return StagedCost(
        "macs", space, float(space.stem_macs), tuple((1.0, 0.0, 0.0) for _ in range(len(space.strides) + 1))
    )


def fitted(space: StagedSpace, codes: npt.ArrayLike, seconds: npt.ArrayLike) -> tuple[StagedCost, float]:
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
