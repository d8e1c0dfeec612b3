"""Settings and presets of NSE."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.supernet.recipes.nse import nse, nse_supernet
from nascli.supernet.recipes.small import small, small_multi_branch_supernet
from nascli.supernet.training.recipe import ArchitectureParameterSettings


class NseStream(IntEnum):
    """Random streams of NSE; see `nascli.random_streams`.

    Attributes:
        CONFIGURATION_PAIRS: Pairs of configurations that the indicators learn from. Index: step.
        PATHS: Architectures that train a supernet. Indices: round, step.
        VALIDATION_ORDER: Order of the images that the indicators learn from. Indices: round, epoch.
        CANDIDATE_ORDER: Order in which the candidates of a layer enter the rounds.
        RETRIEVAL: Architectures that are evaluated at the end of a round. Index: round.
    """

    CONFIGURATION_PAIRS = 41
    PATHS = 42
    VALIDATION_ORDER = 43
    CANDIDATE_ORDER = 51
    RETRIEVAL = 52


@dataclass(frozen=True)
class NseSettings:
    """Hyper-parameters; the defaults are the paper's.

    Attributes:
        candidates: operations per layer and round (K); None is the paper's 5 under counted costs, 6 under latency.
        samples: distinct architectures that are evaluated inside the window (D).
        beyond: extra ones below the window, against the edging effect (D_e).
        threshold: an indicator below it drops its operation.
        lock: keep inherited operations whatever their indicator says.
        rehearse: evaluate the previous front again, so that it competes.
        rounds: at most so many; None until a layer has no operations left.
        window: the lower end of the window over the upper, where the budget names none.
        aim: where in the window the resource term aims (tau): 0 its lower end, as the paper's 300M for 300M to
            350M, 1 its upper.
        rescale: widen or narrow the last architectures to a counted budget before they are trained.
        fitness: how fitness indicators are learned.
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


# The supernet's recipe is for one round.
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
    ),
}
