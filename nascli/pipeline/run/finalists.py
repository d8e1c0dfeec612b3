"""Candidates built whole: rescaled to their budget, predicted, measured, and kept where the device agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost, Constraint, table_latency
from nascli.costmodel.budgets import CostSet
from nascli.files import read_json, reading, write_json
from nascli.lut import Measurement
from nascli.pipeline.measure.latency_model import fixed_costs
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.pipeline.run.settings import SearchSettings
from nascli.profiles.protocol import MeasurementProtocol
from nascli.progress import Progress
from nascli.search.base import Score
from nascli.search.journal import Entry
from nascli.search.nse.rescaling import rescale_to_budget
from nascli.search.verification import Finalist, Measured, verify
from nascli.spaces.architecture import singleton_space
from nascli.spaces.space import Space

# Finalists decide what is called a result, so they are measured more closely than operators.
FINAL_PROTOCOL = MeasurementProtocol(target=0.005, min_rounds=12, max_rounds=30)


class CandidateNetworks:
    """Architectures of a space as networks: in the space's own widths, or in those that fill their budget."""

    def __init__(self, space: Space, costs: CostSet, settings: SearchSettings, progress: Progress) -> None:
        self.space = space
        self._costs, self._settings, self._progress = costs, settings, progress
        # Spaces of architectures whose widths were changed, by code.
        self._resized: dict[tuple[int, ...], Space] = {}

    def resize(self, entries: Sequence[Entry], constraints: Sequence[Constraint]) -> None:
        """Widen or narrow architectures to their budget, where all of it can be counted (NSE, section 4.1)."""
        bounds = [c for c in constraints if c.name != "latency" and c.high != float("inf")]
        if len(bounds) < len(constraints):
            self._progress.message(
                "the last architectures keep their widths: not every constraint is a counted upper bound"
            )
            return
        for entry in entries:
            space = rescale_to_budget(self.space, entry.codes, bounds)
            if space.spec != self.space.spec:
                self._resized[tuple(entry.codes)] = space
        if self._resized:
            self._progress.message(f"{len(self._resized)} architectures rescaled to the budget")

    def is_resized(self, codes: Sequence[int]) -> bool:
        """Whether an architecture has other widths than the space."""
        return tuple(codes) in self._resized

    def space_of(self, codes: Sequence[int]) -> Space:
        """The space in whose widths an architecture is built."""
        return self._resized.get(tuple(codes), self.space)

    def predicted(self, codes: Sequence[int]) -> float:
        """Latency in seconds by the model; of a rescaled architecture by a table of its own operators."""
        if not self.is_resized(codes):
            return float(self._costs.latency(self.space.check(np.array([codes])))[0])
        own, code = singleton_space(self.space_of(codes), codes)
        cost, _ = self._own_costs(own)
        return float(cost(own.check(np.array([code])))[0])

    def own_costs(self, codes: Sequence[int]) -> dict[str, Any]:
        """The costs of a rescaled architecture's own operators, as a document."""
        own, _ = singleton_space(self.space_of(codes), codes)
        cost, fixed = self._own_costs(own)
        return {"latency": cost.to_json(), "fixed": fixed}

    def _own_costs(self, own: Space) -> tuple[ChainCost, dict[str, float]]:
        settings = self._settings
        table = profile_models(
            space_subjects(own),
            settings.target,
            settings.execution,
            protocol=MeasurementProtocol(),
            seed=settings.seed,
            progress=self._progress,
        )
        return table_latency(own, table, "nascli profile"), fixed_costs(table, own)

    def measured(self, rows: Sequence[Sequence[int]]) -> list[Measurement]:
        """End-to-end latency of several architectures, taken side by side."""
        networks = [self.space_of(row).network(row, f"{self.space.name} {list(row)}") for row in rows]
        return measure_networks(
            networks,
            self._settings.target,
            self._settings.execution,
            protocol=FINAL_PROTOCOL,
            seed=self._settings.seed,
            progress=self._progress,
            # Networks of other widths say nothing about the space's own cost model.
            members=None if self._resized else (self.space, rows),
        )


def verified(
    candidates: CandidateNetworks,
    ranked: Sequence[Entry],
    window: tuple[float, float],
    count: int,
    file: Path,
    profile: str,
) -> list[Finalist]:
    """Finalists measured on the device, or those that `file` holds of an earlier run.

    `profile` is the command that measures the space's table, for advice.

    Kept, since what is measured later moves every figure of a table a little: a resumed run must train the same
    winner.

    Raises:
        InfeasibleError: none keeps the window.
    """
    kept = read_json(file)
    if kept is not None:
        with reading(file):
            return [_finalist_of(document) for document in kept["finalists"]]

    def measure(entries: Sequence[Entry]) -> list[Measured]:
        figures = candidates.measured([entry.codes for entry in entries])
        return [Measured(figure.seconds, figure.low, figure.high) for figure in figures]

    finalists = verify(
        ranked, lambda entry: candidates.predicted(entry.codes), measure, window, count, profile
    )
    write_json(file, {"finalists": [asdict(finalist) for finalist in finalists]})
    return finalists


def _finalist_of(document: dict[str, Any]) -> Finalist:
    entry = document["entry"]
    return Finalist(
        Entry(tuple(entry["codes"]), Score(**entry["score"]), entry["seconds"]),
        document["predicted"],
        Measured(**document["measured"]),
        document["within"],
    )
