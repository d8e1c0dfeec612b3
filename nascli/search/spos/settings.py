"""Settings and presets of SPOS."""

from __future__ import annotations

from dataclasses import dataclass

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.supernet.recipes.small import small, small_supernet
from nascli.supernet.recipes.spos import spos, spos_supernet


@dataclass(frozen=True)
class SposSettings:
    """Hyper-parameters of Algorithm 1; the defaults are the paper's.

    Attributes:
        population: architectures per generation (P).
        generations: T.
        parents: how many of the best are kept over all generations (k).
        probability: with which each gene is redrawn by mutation.
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
    ),
}
