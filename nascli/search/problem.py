"""A search problem, which is built once and handed on; what surrounds its solution; and what a search returns."""

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
from nascli.search.preset import Preset
from nascli.search.run_folder import RunFolder
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.options import DataOptions

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images
    from nascli.supernet.devices import TrainDevice

# The verification gets this many times as many candidates as are measured together.
RESERVE = 6


@dataclass(frozen=True)
class SpaceRequest:
    """What the user asked to search, before a space was learned or anything was measured.

    Attributes:
        space: The space, or a space of depths and widths from which an algorithm learns one.
        images: The data.
        constraints: The budgets, parsed.
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
        quality: How well the measurements of the table repeat, as a JSON document.
        fixed: The latency of the blocks without a choice, in seconds, by their names.
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
        space: The space to search.
        images: The data.
        constraints: The budgets, parsed.
        costs: The costs that constraints may bound.
        feasible: The architectures that satisfy all constraints.
        latency: Where the latency comes from; None under counted budgets alone.
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
        """The lowest and the highest latency on the measured device, in seconds; infinite where nothing bounds it."""
        for constraint in self.constraints:
            if constraint.is_local_latency:
                return constraint.low, constraint.high
        return -np.inf, np.inf


def _cpu() -> TrainDevice:
    from nascli.supernet.devices import TrainDevice

    return TrainDevice.cpu()


@dataclass(frozen=True)
class SearchContext:
    """What surrounds a search.

    Attributes:
        preset: All settings of the algorithm.
        seed: The seed of all random streams.
        data: The name of the data set, by which workers on other machines load it.
        folder: The folder of the run, in which a killed search continues.
        progress: Reports how far the search is.
        measure: Measures whole networks side by side on the target, and returns their latencies in the same order.
        supernet: The file of a supernet that was trained beforehand; None trains one.
        after: The folder of the finished run that this one continues; None for a run of its own.
        ray: The address of the Ray cluster that evaluates architectures; None evaluates them in this process.
        device: The device on which networks are trained and evaluated; images are delivered to it.
        data_options: How the data set is split and read, for workers on other machines.
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
    device: TrainDevice = field(default_factory=_cpu)
    data_options: DataOptions = field(default_factory=DataOptions)

    def write_evaluations(self, evaluations: Sequence[Evaluation]) -> None:
        """Add evaluations to the journal of the run, except for architectures that it already holds."""
        journal = self.folder.journal()
        try:
            for evaluation in evaluations:
                if evaluation.architecture not in journal.evaluations:
                    journal.add(evaluation)
        finally:
            journal.close()


@dataclass(frozen=True)
class RankedCandidates:
    """What a search returns.

    Attributes:
        ranked: Candidates with their scores, best first. There are more of them than finalists, so that the
            verification on the device may pass some over.
        identity: Which supernet ranked them: its digest, or a description.
    """

    ranked: tuple[Evaluation, ...]
    identity: str
