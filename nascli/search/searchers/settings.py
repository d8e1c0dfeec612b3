"""Settings and presets of random search, regularised evolution, and guided search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nascli.errors import NascliError
from nascli.search.preset import Preset
from nascli.supernet.recipes.small import small, small_supernet
from nascli.supernet.recipes.spos import spos, spos_supernet


@dataclass(frozen=True)
class EvaluationSettings:
    """Settings of random search and of regularised evolution.

    Attributes:
        evaluations: The number of architectures to evaluate.

    Raises:
        NascliError: `evaluations` is below 1.
    """

    evaluations: int = 100

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise NascliError(f"evaluations >= 1 must hold, got {self.evaluations}")


@dataclass(frozen=True)
class GuidedSettings:
    """Settings of the guided search.

    Attributes:
        evaluations: The number of architectures to evaluate.
        first: The number of architectures that are evaluated before the surrogate proposes any.
        batch: The number of architectures that the surrogate proposes at a time.
        pool: The number of candidates among which it chooses, where the feasible set is larger.

    Raises:
        NascliError: A number is too small, or `first` exceeds `evaluations`.
    """

    evaluations: int = 100
    first: int = 8
    batch: int = 4
    pool: int = 3000

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.evaluations or self.batch < 1 or self.pool < 10:
            raise NascliError(
                "2 <= first <= evaluations, batch >= 1 and pool >= 10 must hold, got "
                f"{self.first}, {self.evaluations}, {self.batch} and {self.pool}"
            )


def _presets(small_settings: Any, paper_settings: Any) -> dict[str, Preset]:
    """Return presets whose supernets and retraining are those of SPOS."""
    return {
        "small": Preset(
            settings=small_settings,
            supernet=small_supernet(epochs=14),
            retraining=small(epochs=8),
        ),
        "paper": Preset(
            settings=paper_settings,
            supernet=spos_supernet(epochs=120),
            retraining=spos(epochs=240),
            calibration_images=20_000,
            final_on="all",
        ),
    }


EVALUATION_PRESETS = _presets(EvaluationSettings(80), EvaluationSettings(1000))
GUIDED_PRESETS = _presets(GuidedSettings(evaluations=80), GuidedSettings(evaluations=1000))
