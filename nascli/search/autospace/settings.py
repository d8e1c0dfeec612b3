"""Settings and presets of AutoSpace."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.search.spos.settings import SposSettings
from nascli.spaces.operators.dag_cell import EDGES
from nascli.supernet.recipes.autospace import autospace, autospace_cells, autospace_supernet
from nascli.supernet.recipes.small import small, small_supernet

GENES = len(EDGES) + 2
COMPENSATIONS = ("count", "delay", "none")


class AutoSpaceStream(IntEnum):
    """Random streams of AutoSpace; see `nascli.random_streams`.

    Attributes:
        FIRST_POPULATION: The first cells of all layers, and which of them enter the supernet.
        PATHS: Architectures that train the supernet. Index: step.
        EVOLUTION: Tournaments and mutations. Index: step.
        CELL_PAIRS: Pairs of cells from which the fitness learns. Index: step.
        VALIDATION_ORDER: Order of the images from which the fitness learns. Index: epoch.
    """

    FIRST_POPULATION = 71
    PATHS = 72
    EVOLUTION = 73
    CELL_PAIRS = 75
    VALIDATION_ORDER = 76


@dataclass(frozen=True)
class AutoSpaceSettings:
    """Hyper-parameters. The defaults are the paper's.

    The paper's Eq. 4 and 5, which compensate for cells that were in the supernet unequally often, are not in its
    supplement. 'count' and 'delay' both read it plausibly.

    Attributes:
        cells: The number of cells per layer, in the supernet and in the learned space (K).
        population: The number of cells per layer in the population.
        first_team: The size of a tournament's team at the beginning of the evolution; it grows linearly.
        last_team: The size of a tournament's team at the end of the evolution.
        warmup: Epochs before the evolution, in which all cells are judged.
        evolution: Epochs of the evolution.
        frequency: Iterations between two mutations.
        reference_epochs: Epochs of the evolution during which cells stay near the reference graph.
        distance: The largest number of edges in which a cell may differ from it until then (tau).
        window: The number of neighbouring genes that may mutate; the window moves by one each time.
        most_madds: The largest MACs of a cell, divided by those of its layer's reference cell.
        compensation: 'count' divides the sum of a cell's gradients by their number, as if all cells were trained
            equally often; 'delay' is delay-compensated SGD, g + strength g^2 (alpha_now - alpha_before); 'none' adds
            gradients up.
        strength: The strength of 'delay'.
        rate: The rate of the fitness.
        mutants: The share of mutants among the K cells after a mutation. In the paper all are mutants; with a smaller
            share the fittest parents stay in the supernet beside their children and are judged again.
        keep_weights: Whether a mutant begins with the weights of its layer's last convolution of the same role and
            shape.

    Raises:
        NascliError: A number is out of its range, or the compensation is unknown.
    """

    cells: int = 9
    population: int = 1000
    first_team: int = 30
    last_team: int = 250
    warmup: int = 40
    evolution: int = 120
    frequency: int = 40
    reference_epochs: int = 60
    distance: int = 3
    window: int = 3
    most_madds: float = 1.5
    compensation: str = "count"
    strength: float = 0.5
    rate: float = 0.1
    mutants: float = 1.0
    keep_weights: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.cells < self.population:
            # Children replace other members, and the reference graph is never replaced.
            raise NascliError(f"1 <= cells < population must hold, got {self.cells} and {self.population}")
        if not 1 <= self.window <= GENES:
            raise NascliError(f"a mutation window has 1 to {GENES} genes, got {self.window}")
        if not 1 <= self.first_team <= self.last_team <= self.population:
            raise NascliError(
                f"1 <= first_team <= last_team <= population must hold, got {self.first_team}, "
                f"{self.last_team} and {self.population}"
            )
        if min(self.warmup, self.evolution, self.frequency) < 1 or self.distance < 0:
            raise NascliError("warmup, evolution and frequency must be at least 1, and distance at least 0")
        if self.compensation not in COMPENSATIONS:
            raise NascliError(f"compensation is one of {', '.join(COMPENSATIONS)}, got {self.compensation!r}")
        if not 0 < self.mutants <= 1:
            raise NascliError(f"0 < mutants <= 1 must hold, got {self.mutants}")

    def team(self, share: float) -> int:
        """Return the size of a team.

        Args:
            share: How much of the evolution is over, from 0 to 1.
        """
        return round(self.first_team + (self.last_team - self.first_team) * min(1.0, max(0.0, share)))


# SPOS searches the learned space. The settings decide how long cells evolve; the epochs of `space_recipe` are not used.
PRESETS = {
    "small": Preset(
        settings=AutoSpaceSettings(
            cells=4,
            population=60,
            first_team=5,
            last_team=20,
            warmup=4,
            evolution=12,
            mutants=0.5,
            frequency=20,
            reference_epochs=6,
        ),
        supernet=small_supernet(epochs=14),
        retraining=small(epochs=8),
        searcher=SposSettings(population=20, generations=6),
        space_recipe=small_supernet(epochs=1),
    ),
    "paper": Preset(
        settings=AutoSpaceSettings(),
        supernet=autospace_supernet(epochs=120),
        retraining=autospace(epochs=300),
        searcher=SposSettings(),
        space_recipe=autospace_cells(epochs=160),
        calibration_images=20_000,
        final_on="all",
    ),
}
