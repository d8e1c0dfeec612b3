"""Finalists as networks: built in their own widths, predicted, measured, and kept where the device agrees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost, table_latency
from nascli.files import read_json, reading, write_json
from nascli.lut import Measurement
from nascli.pipeline.measure.latency_model import fixed_costs
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.pipeline.run.settings import SearchSettings
from nascli.profiles.protocol import MeasurementProtocol
from nascli.progress import Progress
from nascli.search.base import Choices, Evaluation
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem
from nascli.search.run_folder import FINALISTS
from nascli.search.verification import Finalist, verify
from nascli.spaces.architecture import singleton_space
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.supernet.training import distributed

# Finalists decide what is called a result, so they are measured more closely than operators.
FINAL_PROTOCOL = MeasurementProtocol(target=0.005, min_rounds=12, max_rounds=30)


class CandidateNetworks:
    """Architectures of a problem as networks: in the space's own widths, or in those that fill their budget.

    Args:
        problem: What was searched.
        settings: Where networks are measured.
        resized: The spaces of architectures whose widths were changed.
        progress: Is shown what is measured.
    """

    def __init__(
        self,
        problem: SearchProblem,
        settings: SearchSettings,
        resized: Mapping[Choices, Space],
        progress: Progress,
    ) -> None:
        self._problem, self._settings, self._progress = problem, settings, progress
        self._resized = dict(resized)

    def is_resized(self, architecture: Choices) -> bool:
        """Whether an architecture has other widths than the space."""
        return architecture in self._resized

    def space_of(self, architecture: Choices) -> Space:
        """The space in whose widths an architecture is built."""
        return self._resized.get(architecture, self._problem.space)

    def network(self, architecture: Choices) -> Network:
        """An architecture as a network."""
        return self.space_of(architecture).network(
            architecture, f"{self._problem.space.name} {list(architecture)}"
        )

    def predicted(self, architecture: Choices) -> float:
        """Latency in seconds by the model; of a resized architecture by a table of its own operators."""
        if not self.is_resized(architecture):
            assert self._problem.costs.latency is not None
            row = self._problem.space.check(np.array([architecture]))
            return float(self._problem.costs.latency(row)[0])
        own, choices = singleton_space(self.space_of(architecture), architecture)

        def by_own_table() -> float:
            cost, _ = self._own_costs(own)
            return float(cost(own.check(np.array([choices])))[0])

        return distributed.on_first(by_own_table)

    def own_costs(self, architecture: Choices) -> dict[str, Any]:
        """The costs of a resized architecture's own operators, as a JSON document."""
        own, _ = singleton_space(self.space_of(architecture), architecture)

        def by_own_table() -> dict[str, Any]:
            cost, fixed = self._own_costs(own)
            return {"latency": cost.to_json(), "fixed": fixed}

        return distributed.on_first(by_own_table)

    def _own_costs(self, own: Space) -> tuple[ChainCost, dict[str, float]]:
        settings = self._settings
        table = profile_models(
            space_subjects(own, settings.target.batch),
            settings.target,
            settings.execution,
            protocol=MeasurementProtocol(),
            seed=settings.seed,
            progress=self._progress,
        )
        return table_latency(own, table, "profile it"), fixed_costs(table, own)

    def measured(self, architectures: Sequence[Choices]) -> list[Measurement]:
        """End-to-end latency of several architectures, taken side by side."""
        return measured_on_first(
            lambda: measure_networks(
                [self.network(architecture) for architecture in architectures],
                self._settings.target,
                self._settings.execution,
                protocol=FINAL_PROTOCOL,
                seed=self._settings.seed,
                progress=self._progress,
                # Networks of other widths say nothing about the space's own cost model.
                members=None if self._resized else (self._problem.space, architectures),
            )
        )


def measured_on_first(measure: Callable[[], Sequence[Measurement]]) -> list[Measurement]:
    """Measure on the first process alone, and return the figures on all processes that work together."""
    figures = distributed.on_first(lambda: [asdict(figure) for figure in measure()])
    return [Measurement(**figure) for figure in figures]


def select_finalists(
    candidates: RankedCandidates,
    networks: CandidateNetworks,
    problem: SearchProblem,
    context: SearchContext,
    subject: Mapping[str, object],
) -> list[Finalist]:
    """The candidates that may win: measured on the device, or under counted budgets, the first ones.

    Measured ones are kept in the run's folder: what is measured later moves every figure of a table a little, and a
    resumed run must train the same winner.

    Args:
        candidates: Best first.
        networks: The candidates as networks.
        problem: What was searched.
        context: What surrounds the search.
        subject: What the remedies are about, by argument: the space, the target, and the means of execution.

    Raises:
        InfeasibleError: No candidate keeps the budget on the device.
    """
    count = context.preset.finalists
    if problem.latency is None:
        return [Finalist(evaluation, within=True) for evaluation in candidates.ranked[:count]]
    file = context.folder.file(FINALISTS)

    def measure(evaluations: Sequence[Evaluation]) -> list[Measurement]:
        return networks.measured([evaluation.architecture for evaluation in evaluations])

    def kept() -> dict[str, Any]:
        document = read_json(file)
        if document is None:
            finalists = verify(
                candidates.ranked,
                lambda evaluation: networks.predicted(evaluation.architecture),
                measure,
                problem.latency_window,
                count,
                subject,
            )
            document = {"finalists": [finalist.to_json() for finalist in finalists]}
            write_json(file, document)
        return document

    document = distributed.on_first(kept)
    with reading(file):
        return [Finalist.from_json(finalist) for finalist in document["finalists"]]
