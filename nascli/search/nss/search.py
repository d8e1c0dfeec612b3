"""Network Space Search (Hong et al. 2021): which ranges of depths and widths are worth searching.

A distribution over spaces has, per stage, a categorical distribution over bins of depths and one over bins of widths.
It learns by gradient on a supernet of masks (`nascli.search.nss.engine`). Here is what needs no torch: the bins, the
networks of a drawn space, their costs, and the choice of the Elite Space.
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
# A space drawn from the distribution: per stage the bin of depths and the bin of widths.
ChosenBins = Sequence[tuple[int, int]]
# Spaces drawn at most for each that is wanted.
_DRAWS = 200
# Spaces of at most so many networks are enumerated.
_MAX_ENUMERATED = 1_000_000


@dataclass(frozen=True)
class Bins:
    """The bins of a staged space: consecutive depths and consecutive widths, of the same sizes in every stage.

    Attributes:
        space: The staged space.
        depth: The number of depths in a bin.
        width: The number of widths in a bin.

    Raises:
        NascliError: The bins do not divide the depths and widths of the space.
    """

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
        """The number of bins of depths and of bins of widths, per stage."""
        return self.space.depths // self.depth, self.space.widths // self.width

    @property
    def spaces(self) -> int:
        """The number of spaces with one bin of depths and one bin of widths per stage (section 3.1)."""
        depths, widths = self.counts
        return int((depths * widths) ** len(self.space.strides))

    def sample(self, chosen: ChosenBins, n: int, rng: np.random.Generator) -> Population:
        """Draw networks uniformly from a space (Eq. 3).

        Args:
            chosen: The bins of the space.
            n: The number of networks.
            rng: The source of randomness.

        Returns:
            `(n, 2 * stages)` depth and width of each stage, both counted from 0.
        """
        low = np.array([value for d, w in chosen for value in (d * self.depth, w * self.width)])
        size = np.tile([self.depth, self.width], len(chosen))
        return (low + rng.integers(0, size, (n, len(low)))).astype(np.int16)

    def shallowest(self, chosen: ChosenBins) -> Population:
        """Return the `(1, 2 * stages)` network of a space with the smallest depths and middle widths."""
        row = [value for d, w in chosen for value in (d * self.depth, w * self.width + self.width // 2)]
        return np.array([row], dtype=np.int16)

    def ranges(self, chosen: ChosenBins) -> tuple[tuple[int, int, int, int], ...]:
        """Return the smallest and largest depth, and the smallest and largest width, of each stage, counted from 1."""
        return tuple(
            (d * self.depth + 1, (d + 1) * self.depth, w * self.width + 1, (w + 1) * self.width)
            for d, w in chosen
        )

    def enumerate(self, chosen: ChosenBins) -> Population:
        """Return every network of a space, `(n, 2 * stages)`.

        Raises:
            NascliError: There are more than a million.
        """
        sides = [
            np.arange(number * size, (number + 1) * size)
            for d, w in chosen
            for number, size in ((d, self.depth), (w, self.width))
        ]
        total = int(np.prod([len(side) for side in sides], dtype=float))
        if total > _MAX_ENUMERATED:
            raise NascliError(f"the space has {total:,} networks; draw from it instead")
        mesh = np.meshgrid(*sides, indexing="ij")
        return np.stack([axis.ravel() for axis in mesh], axis=1).astype(np.int16)


def mean_cost(cost: StagedCost, bins: Bins, chosen: ChosenBins, rng: np.random.Generator) -> float:
    """Return the mean cost of a space's networks: of all if there are at most a million, else of 4,000 draws.

    Args:
        cost: The cost of networks.
        bins: The sizes of the bins.
        chosen: The bins of the space.
        rng: The source of randomness of the draws.
    """
    is_small = (bins.depth * bins.width) ** len(chosen) <= _MAX_ENUMERATED
    population = bins.enumerate(chosen) if is_small else bins.sample(chosen, 4000, rng)
    return float(cost(population).mean())


def describe_elite_space(bins: Bins, chosen: ChosenBins, cost: StagedCost, target: float) -> str:
    """Return a sentence that says which space was chosen, and how many of its networks are within the target.

    Networks within a number of MACs are counted exactly; networks within a latency are not counted.
    """
    ranges = bins.ranges(chosen)
    within, total = count_within(bins.space, 0.0, target if cost.name == "macs" else math.inf, ranges)
    counts = f"{total:,} networks"
    if cost.name == "macs":
        counts += f", of which {within:,} have at most {_format_cost(cost, target)}"
    return f"Elite Space {format_ranges(ranges)}, one of {bins.spaces:,}: {counts}"


def require_reachable(cost: StagedCost, target: float) -> None:
    """Refuse a target that no network of the space has.

    Raises:
        InfeasibleError: The target is below the smallest cost or above the largest.
    """
    if not cost.minimum <= target <= cost.maximum:
        raise InfeasibleError(
            f"{cost.space.name} has networks of {_format_cost(cost, cost.minimum)} to "
            f"{_format_cost(cost, cost.maximum)}, none of {_format_cost(cost, target)}.",
            "Choose a target in between, or a larger space.",
        )


def _format_cost(cost: StagedCost, value: float) -> str:
    return format_seconds(value) if cost.name == "latency" else f"{value:,.0f} MACs"


def choose_elite_space(
    bins: Bins,
    probabilities: Sequence[tuple[Array, Array]],
    target: float,
    drawn: int,
    rng: np.random.Generator,
    cost: StagedCost | None = None,
) -> tuple[tuple[int, int], ...]:
    """Draw spaces from the distribution, and return the one whose mean cost is nearest to the target (section 4.1).

    In the end the target is an upper bound, so that spaces whose shallowest network of middle widths exceeds it are
    not counted.

    Args:
        bins: The sizes of the bins.
        probabilities: Per stage the probabilities of the bins of depths, and of those of widths.
        target: The cost that networks of the space shall have on average.
        drawn: The number of spaces to choose from.
        rng: The source of randomness.
        cost: The cost of networks; MACs by default.

    Returns:
        Per stage the bin of depths and the bin of widths.

    Raises:
        InfeasibleError: No drawn space has networks within the target.
    """
    cost = staged_macs(bins.space) if cost is None else cost
    best: tuple[float, tuple[tuple[int, int], ...]] | None = None
    remaining = drawn
    for _ in range(_DRAWS * drawn):
        chosen = tuple(
            (int(rng.choice(len(d), p=d / d.sum())), int(rng.choice(len(w), p=w / w.sum())))
            for d, w in probabilities
        )
        if cost(bins.shallowest(chosen))[0] > target:
            continue
        distance = abs(mean_cost(cost, bins, chosen, rng) / target - 1)
        if best is None or distance < best[0]:
            best = (distance, chosen)
        remaining -= 1
        if not remaining:
            break
    if best is None:
        raise InfeasibleError(
            f"none of {_DRAWS * drawn} spaces drawn from {bins.space.name} has networks within "
            f"{_format_cost(cost, target)}.",
            "Choose a larger target, or smaller bins.",
        )
    return best[1]
