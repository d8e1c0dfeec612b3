"""Settings and presets of NSE."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.supernet.recipes.nse import nse, nse_supernet
from nascli.supernet.recipes.small import small, small_multi_branch_supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings

# The exponent of the excess over tau in the loss (beta, appendix B).
RESOURCE_EXPONENT = 2


class NseStream(IntEnum):
    """Random streams of NSE; see `nascli.random_streams`.

    Attributes:
        CONFIGURATION_PAIRS: Pairs of configurations from which the indicators learn. Index: step.
        PATHS: Architectures that train a supernet. Indices: round, step.
        VALIDATION_ORDER: Order of the images from which the indicators learn. Indices: round, epoch.
        CANDIDATE_ORDER: Order in which the operations of a layer enter the rounds.
        RETRIEVAL: Architectures that are evaluated at the end of a round. Index: round.
    """

    CONFIGURATION_PAIRS = 41
    PATHS = 42
    VALIDATION_ORDER = 43
    CANDIDATE_ORDER = 51
    RETRIEVAL = 52


@dataclass(frozen=True)
class NseSettings:
    """Hyper-parameters. The defaults are the paper's.

    Attributes:
        candidates: The number of operations per layer and round (K). None is the paper's 5 under a counted cost, and
            its 6 under latency.
        samples: The number of distinct architectures that a round evaluates inside the window (D).
        beyond: The number of further architectures below the window, against the edging effect (D_e).
        threshold: The fitness indicator below which an operation is dropped.
        lock: Whether inherited operations stay whatever their indicator is.
        rehearse: Whether the front of the round before is evaluated again, so that it competes.
        rounds: The largest number of rounds; None continues until a layer has no operations left.
        window: The lower end of the window divided by the upper, where the budget has no lower end.
        aim: Where in the window the resource term aims (tau): 0 is the lower end, as the paper's 300M for a window
            of 300M to 350M, and 1 the upper.
        rescale: Whether the last architectures are widened or narrowed to a counted budget before they are trained.
        fitness: How the fitness indicators are learned.

    Raises:
        NascliError: A number is out of its range.
    """

    candidates: int | None = None
    samples: int = 2000
    beyond: int = 100
    threshold: float = -2.0
    lock: bool = True
    rehearse: bool = True
    rounds: int | None = None
    window: float = 0.857
    aim: float = 0.0
    rescale: bool = True
    fitness: ArchitectureParameterSettings = field(default_factory=ArchitectureParameterSettings)

    def __post_init__(self) -> None:
        if (self.candidates is not None and self.candidates < 2) or self.samples < 1 or self.beyond < 0:
            raise NascliError(
                f"candidates >= 2, samples >= 1 and beyond >= 0 must hold, got {self.candidates}, "
                f"{self.samples} and {self.beyond}"
            )
        if not 0 <= self.aim <= 1:
            raise NascliError(f"0 <= aim <= 1 must hold, got {self.aim}")
        if not 0 <= self.window < 1 or (self.rounds is not None and self.rounds < 1):
            raise NascliError(
                f"0 <= window < 1 and rounds >= 1 must hold, got {self.window} and {self.rounds}"
            )

    def candidates_under(self, cost: str) -> int:
        """Return the number of operations per layer and round (K).

        Args:
            cost: The name of the cost that is bounded, such as 'macs' or 'latency'.
        """
        return self.candidates or (6 if cost == "latency" else 5)

    def window_of(self, low: float, high: float) -> tuple[float, float]:
        """Return both ends of the window of a budget.

        Args:
            low: The budget's lower end; minus infinity where it has none.
            high: The budget's upper end.
        """
        return (self.window * high if low == -math.inf else low), high

    def aim_of(self, low: float, high: float) -> float:
        """Return the cost at which the resource term aims (tau), from both ends of the window."""
        return low + self.aim * (high - low)

    def fitness_weight(self, cost: str) -> float:
        """Return the weight of the squared relative excess over tau; by default the paper's for a cost."""
        published = 0.98 if cost == "latency" else 0.9
        return published if self.fitness.weight is None else self.fitness.weight


# The recipe of the supernet is that of one round.
PRESETS = {
    "small": Preset(
        settings=NseSettings(
            candidates=4, samples=120, beyond=20, rounds=3, fitness=ArchitectureParameterSettings(start=0.3)
        ),
        supernet=small_multi_branch_supernet(epochs=12),
        retraining=small(epochs=8),
    ),
    "paper": Preset(
        settings=NseSettings(),
        supernet=nse_supernet(epochs=100),
        retraining=nse(epochs=350),
        calibration_images=20_000,
        final_on="all",
    ),
}
