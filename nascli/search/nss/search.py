"""Network Space Search (Hong et al. 2021): which ranges of depths and widths are worth searching.

A distribution over spaces has, per stage, a categorical over bins of depths and one over bins of widths. It learns by
gradient on a supernet of masks; here is what needs no torch: bins, drawn spaces, exact counts, and the final choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nascli.costmodel.staged_costs import StagedCost, count_within, staged_macs
from nascli.errors import InfeasibleError, NascliError
from nascli.spaces.builtin.network_spaces import format_ranges
from nascli.spaces.space import Population
from nascli.spaces.staged import StagedSpace
from nascli.units import format_seconds

Array = npt.NDArray[np.float64]
# Spaces that are drawn at most for each that counts.
_DRAWS = 200


@dataclass(frozen=True)
class Bins:
    """The bins of a space: stage i's depths and widths in runs of `depth` and `width`."""

    space: StagedSpace
    depth: int
    width: int

    def __post_init__(self) -> None:
        if self.space.depths % self.depth or self.space.widths % self.width:
            raise NascliError(
                f"bins of {self.depth} depths and {self.width} widths do not divide {self.space.name}'s "
                f"{self.space.depths} depths and {self.space.widths} widths."
            )

    @property
    def counts(self) -> tuple[int, int]:
        """Number of bins of depths and of widths per stage."""
        return self.space.depths // self.depth, self.space.widths // self.width

    @property
    def spaces(self) -> int:
        """Number of spaces with one bin of depths and one bin of widths per stage (section 3.1)."""
        depths, widths = self.counts
        return int((depths * widths) ** len(self.space.strides))

    def sample(self, chosen: Sequence[tuple[int, int]], n: int, rng: np.random.Generator) -> Population:
        """`(n, 2 * stages)` codes, uniform over a drawn space (Eq. 3); `chosen` has (depth, width) bins."""
        low = np.array([value for d, w in chosen for value in (d * self.depth, w * self.width)])
        size = np.tile([self.depth, self.width], len(chosen))
        return (low + rng.integers(0, size, (n, len(low)))).astype(np.int16)

    def shallow(self, chosen: Sequence[tuple[int, int]]) -> Population:
        """`(1, 2 * stages)` the shallowest network of a drawn space, of its middle widths."""
        row = [value for d, w in chosen for value in (d * self.depth, w * self.width + self.width // 2)]
        return np.array([row], dtype=np.int16)

    def ranges(self, chosen: Sequence[tuple[int, int]]) -> tuple[tuple[int, int, int, int], ...]:
        """Per stage least and most depth, least and most width."""
        return tuple(
            (d * self.depth + 1, (d + 1) * self.depth, w * self.width + 1, (w + 1) * self.width)
            for d, w in chosen
        )

    def codes(self, chosen: Sequence[tuple[int, int]]) -> Population:
        """Every network of a drawn space, where it has at most a million."""
        sides = [
            np.arange(b * size, (b + 1) * size)
            for d, w in chosen
            for b, size in ((d, self.depth), (w, self.width))
        ]
        total = int(np.prod([len(side) for side in sides], dtype=float))
        if total > 1_000_000:
            raise NascliError(f"the space has {total:,} networks; draw from it instead")
        mesh = np.meshgrid(*sides, indexing="ij")
        return np.stack([axis.ravel() for axis in mesh], axis=1).astype(np.int16)


def mean_cost(
    cost: StagedCost, bins: Bins, chosen: Sequence[tuple[int, int]], rng: np.random.Generator
) -> float:
    """Mean cost of a drawn space's networks: exactly where it is small, of 4,000 draws where it is not."""
    small = (bins.depth * bins.width) ** len(chosen) <= 1_000_000
    codes = bins.codes(chosen) if small else bins.sample(chosen, 4000, rng)
    return float(cost(codes).mean())


def describe_elite_space(
    bins: Bins, chosen: Sequence[tuple[int, int]], cost: StagedCost, target: float
) -> str:
    """Return a sentence that says which space was chosen, and how many of its networks are within the target.

    Networks within a number of MACs are counted exactly; networks within a latency are not counted.
    """
    ranges = bins.ranges(chosen)
    within, total = count_within(bins.space, 0.0, target if cost.name == "macs" else math.inf, ranges)
    counts = f"{total:,} networks"
    if cost.name == "macs":
        counts += f", of which {within:,} have at most {_shown(cost, target)}"
    return f"Elite Space {format_ranges(ranges)}, one of {bins.spaces:,}: {counts}"


def require_reachable(cost: StagedCost, target: float) -> None:
    """Refuse a target that no network of the space has.

    Raises:
        InfeasibleError: naming the space's range.
    """
    if not cost.minimum <= target <= cost.maximum:
        raise InfeasibleError(
            f"{cost.space.name} has networks of {_shown(cost, cost.minimum)} to {_shown(cost, cost.maximum)}, none of "
            f"{_shown(cost, target)}.",
            "Choose a target in between, or a larger space.",
        )


def _shown(cost: StagedCost, value: float) -> str:
    return format_seconds(value) if cost.name == "latency" else f"{value:,.0f} MACs"


def elite(
    bins: Bins,
    probabilities: Sequence[tuple[Array, Array]],
    target: float,
    drawn: int,
    rng: np.random.Generator,
    cost: StagedCost | None = None,
) -> tuple[tuple[int, int], ...]:
    """The drawn space whose mean cost is nearest to the target (section 4.1: n = 5 are drawn); by default MACs.

    The target is a bound in the end, so spaces without a network of middle width within it are passed over.

    Raises:
        InfeasibleError: the distribution draws no other.
    """
    cost = staged_macs(bins.space) if cost is None else cost
    best: tuple[float, tuple[tuple[int, int], ...]] | None = None
    left = drawn
    for _ in range(_DRAWS * drawn):
        chosen = tuple(
            (int(rng.choice(len(d), p=d / d.sum())), int(rng.choice(len(w), p=w / w.sum())))
            for d, w in probabilities
        )
        if cost(bins.shallow(chosen))[0] > target:
            continue
        off = abs(mean_cost(cost, bins, chosen, rng) / target - 1)
        if best is None or off < best[0]:
            best = (off, chosen)
        left -= 1
        if not left:
            break
    if best is None:
        raise InfeasibleError(
            f"none of {_DRAWS * drawn} spaces drawn from {bins.space.name} has networks within {_shown(cost, target)}.",
            "Choose a larger target, or smaller bins.",
        )
    return best[1]
