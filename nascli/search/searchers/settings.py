"""Settings of the guided search."""

from __future__ import annotations

from dataclasses import dataclass

from nascli.errors import NascliError


@dataclass(frozen=True)
class GuidedSettings:
    """How the search is guided.

    Attributes:
        evaluations: in all.
        first: evaluated before the surrogate speaks.
        batch: proposed at a time.
        pool: candidates that are considered each time, where the feasible set is larger.
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
