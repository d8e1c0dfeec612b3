"""Settings and presets of SPOS."""

from __future__ import annotations

from dataclasses import dataclass

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.supernet.recipes.small import small, small_supernet
from nascli.supernet.recipes.spos import spos, spos_supernet


@dataclass(frozen=True)
class SposSettings:
    """Hyper-parameters of the evolution (Algorithm 1). The defaults are the paper's.

    Attributes:
        population: The number of architectures per generation (P).
        generations: The number of generations (T).
        parents: The number of best architectures of all generations that have children (k).
        probability: The probability with which mutation draws the choice of a layer anew.

    Raises:
        NascliError: A number is too small, or the probability is not in (0, 1].
    """

    population: int = 50
    generations: int = 20
    parents: int = 10
    probability: float = 0.1

    def __post_init__(self) -> None:
        if self.population < 2 or self.generations < 1 or self.parents < 1:
            raise NascliError(
                "population >= 2, generations >= 1 and parents >= 1 must hold, got "
                f"{self.population}, {self.generations}, {self.parents}"
            )
        if not 0 < self.probability <= 1:
            raise NascliError(f"0 < probability <= 1 must hold, got {self.probability}")


PRESETS = {
    "small": Preset(
        settings=SposSettings(population=20, generations=6),
        supernet=small_supernet(epochs=14),
        retraining=small(epochs=8),
    ),
    "paper": Preset(
        settings=SposSettings(),
        supernet=spos_supernet(epochs=120),
        retraining=spos(epochs=240),
        calibration_images=20_000,
        final_on="all",
    ),
}
