"""How a network learns from a teacher, as data. This module does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nascli.errors import NascliError, UnknownNameError

KINDS = ("soft", "hard", "feature")


@dataclass(frozen=True)
class Distillation:
    """How a network learns from a teacher.

    Attributes:
        kind: 'soft' takes the divergence from the teacher's probabilities (Hinton et al. 2015), 'hard' the
            cross-entropy with the teacher's most probable class (Touvron et al. 2021), and 'feature' the mean squared
            distance of what the classifiers take, through a learned projection (FitNets, Romero et al. 2015).
        weight: Share of the teacher in the loss, from 0 to 1; the labels have the rest. With 'feature' it is the
            factor of the distance, at least 0, which is added to the whole loss of the labels.
        temperature: By which 'soft' divides the logits of both networks, above 0.

    Raises:
        UnknownNameError: There is no such kind.
        NascliError: A value is outside its range.
    """

    kind: str = "soft"
    weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("kind of distillation", self.kind, list(KINDS))
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise NascliError(f"weight >= 0 must hold, got {self.weight}.")
        if self.kind != "feature" and self.weight > 1:
            raise NascliError(
                f"0 <= weight <= 1 must hold for {self.kind} distillation, got {self.weight}.",
                "The weight is the teacher's share of the loss; the labels have the rest.",
            )
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise NascliError(f"temperature > 0 must hold, got {self.temperature}.")
