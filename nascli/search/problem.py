"""A search problem, built once and handed on, and what surrounds the search for its solution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet
from nascli.costmodel.budgets import CostSet
from nascli.lut import Measurement
from nascli.progress import Progress
from nascli.search.base import Evaluation
from nascli.search.journal import Journal
from nascli.search.preset import Preset
from nascli.search.run_folder import EVALUATIONS, RunFolder
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images

# So many times as many candidates as are measured at a time are kept for the verification.
RESERVE = 6


@dataclass(frozen=True)
class SpaceRequest:
    """What a user asked to be searched, before anything of it was learned or measured.

    Attributes:
        space: The space; of Network Space Search, a space of spaces.
        images: The data.
        constraints: The budgets.
    """

    space: Space | StagedSpace
    images: Images
    constraints: tuple[Constraint, ...]


@dataclass(frozen=True)
class LatencySource:
    """Where the latency of a problem comes from.

    Attributes:
        model: The latency model, in words.
        setup: The setup of its table, as a JSON document.
        table_digest: The digest of its table.
        quality: Why to believe the table, as a JSON document.
        fixed: Seconds of the blocks without a choice, by their names.
    """

    model: str
    setup: Mapping[str, Any]
    table_digest: str
    quality: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchProblem:
    """What a search solves. It is built in one place; the algorithm, the verification, and the report read it.

    Attributes:
        space: The space that is searched.
        images: The data.
        constraints: The budgets, parsed.
        costs: What they may bound.
        feasible: The architectures that satisfy them.
        latency: Where the latency comes from; None where nothing is measured.
    """

    space: Space
    images: Images
    constraints: tuple[Constraint, ...]
    costs: CostSet
    feasible: FeasibleSet
    latency: LatencySource | None

    @property
    def bounds(self) -> tuple[BoundedCost, ...]:
        """Each constraint with the cost that it bounds."""
        return self.costs.bounds(self.constraints)

    @property
    def target(self) -> BoundedCost:
        """The bound that a resource term aims at: the latency's, or the first one."""
        return next((bound for bound in self.bounds if bound.constraint.name == "latency"), self.bounds[0])

    @property
    def latency_window(self) -> tuple[float, float]:
        """What the latency on the device that is measured must lie in, in seconds; unbounded without a budget."""
        for constraint in self.constraints:
            if constraint.is_local_latency:
                return constraint.low, constraint.high
        return -np.inf, np.inf


@dataclass(frozen=True)
class SearchContext:
    """What surrounds a search.

    Attributes:
        preset: All settings of the algorithm.
        seed: Of everything random.
        data: The name of the data, for workers on other machines.
        folder: The run's folder, in which a killed search goes on.
        progress: Is shown how far the search is.
        measure: Measures whole networks side by side on the target; in their order.
        supernet: A supernet that was trained beforehand; None trains one.
        after: The finished run that this one goes on from; None for a run of its own.
        ray: The address of a Ray cluster that evaluates; None evaluates here.
    """

    preset: Preset
    seed: int
    data: str
    folder: RunFolder
    progress: Progress
    measure: Callable[[Sequence[Network]], Sequence[Measurement]]
    supernet: Path | None = None
    after: Path | None = None
    ray: str | None = None

    def write_evaluations(self, evaluations: Sequence[Evaluation]) -> None:
        """Add evaluations to the run's journal, those excepted that it holds already."""
        journal = Journal(self.folder.file(EVALUATIONS))
        try:
            for evaluation in evaluations:
                if evaluation.architecture not in journal.evaluations:
                    journal.add(evaluation)
        finally:
            journal.close()


@dataclass(frozen=True)
class RankedCandidates:
    """What a search found: candidates, best first, and which supernet ranked them."""

    ranked: tuple[Evaluation, ...]
    identity: str
