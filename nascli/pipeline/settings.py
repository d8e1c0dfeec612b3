"""Everything that decides what a search finds. Two runs with equal settings and table find the same."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nascli.costmodel import Constraint, parse_constraint
from nascli.costmodel.constraints import intersect
from nascli.errors import ConstraintError, UnknownNameError
from nascli.pipeline.measuring import Where
from nascli.profiles.devices import this_cpu
from nascli.search.spos import Evolution
from nascli.spaces.catalog import load_space
from nascli.spaces.space import Space

ALGORITHMS = ("spos",)


@dataclass(frozen=True)
class Effort:
    """How much training and evaluation a search spends; the defaults suit a CPU and small images.

    Attributes:
        supernet_epochs: training of the supernet.
        retrain_epochs: training from scratch of the winner and of each baseline.
        evolution: population, generations and the rest.
        finalists: how many candidates are measured at a time.
    """

    supernet_epochs: int = 14
    retrain_epochs: int = 8
    evolution: Evolution = field(default_factory=lambda: Evolution(population=20, generations=6))
    finalists: int = 5


@dataclass(frozen=True)
class SearchSettings:
    """What to search, where, under which constraints.

    Attributes:
        confidence: with which the latency model must say that a budget is kept; None takes its figure as it is.
    """

    space: str
    data: str
    constraints: tuple[str, ...]
    where: Where
    algorithm: str = "spos"
    seed: int = 0
    effort: Effort = field(default_factory=Effort)
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise UnknownNameError("algorithm", self.algorithm, list(ALGORITHMS))
        if not self.constraints:
            raise ConstraintError("a search needs at least one constraint, such as latency=8ms.")

    def load_space(self) -> Space:
        """The space, as it is before the data decides its classes and channels."""
        return load_space(self.space)

    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints; a latency without a device is about the one that is measured on.

        Raises:
            ConstraintError: a device on a cost that depends on none, or contradictory bounds.
        """
        here = {self.where.device}
        if self.where.device in ("cpu", this_cpu().key):
            here = {"cpu", this_cpu().key}
        parsed = []
        for constraint in map(parse_constraint, self.constraints):
            if constraint.device is not None and constraint.name != "latency":
                raise ConstraintError(f"{constraint}: {constraint.name} is the same on every device.")
            parsed.append(replace(constraint, device=None) if constraint.device in here else constraint)
        return intersect(parsed)

    def to_json(self) -> dict[str, Any]:
        """All settings that decide the result; the store's place does not."""
        document = asdict(self)
        del document["where"]["store"]
        return document

    @property
    def default_name(self) -> str:
        """A folder's name that tells runs apart."""
        parts = [self.algorithm, self.space, self.data, *self.constraints, f"seed{self.seed}"]
        return re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(parts)).strip("-.")[:120]


def default_out(settings: SearchSettings) -> Path:
    """Where a run goes when the user names no place."""
    return Path("runs") / settings.default_name
