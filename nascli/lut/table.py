"""A table: the figures of one setup, derived from the store's samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from nascli.lut.keys import Setup, program_key
from nascli.lut.parts import sum_of_parts
from nascli.lut.statistics import EMPTY, LEAST_ROUNDS, Estimate, estimates, reference_anchor
from nascli.lut.store import Store
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LatencyTable:
    """Latency of operators in one setup.

    Attributes:
        setup: device, runtime, version, precision, batch, threads.
        estimates: figure by operator key.
        labels: label, MACs and parameters by operator key.
        imported: whether the figures come from another tool's file.
    """

    setup: Setup
    estimates: dict[str, Estimate]
    labels: dict[str, tuple[str, int, int]]
    imported: bool = False

    @staticmethod
    def read(store: Store, setup: Setup) -> LatencyTable:
        """Derive the table of a setup from all its samples."""
        bursts = store.bursts(setup)
        if not len(bursts.keys):
            return LatencyTable(setup, {}, {})
        imported = (store.facts(setup) or {}).get("origin") == "imported"
        # One or two rounds say nothing about how sure they are: such an operator is not measured yet. An
        # imported figure is what its file says, however often it was taken.
        least = 1 if imported else LEAST_ROUNDS
        # Over all generations: what was measured anew on a busy day is held against the quiet days too.
        reference = reference_anchor(bursts.anchor)
        kind = "imported" if imported else "measured"
        return LatencyTable(setup, estimates(bursts, reference, kind, least), store.labels(setup), imported)

    def lookup(self, program: Program) -> Estimate | None:
        """The figure of a program; None if there is none. A program without nodes costs 0.

        In an imported table a program without a figure of its own is the sum of its parts, where all of
        them are there; the figure's kind says so.
        """
        if program.output == 0:
            return EMPTY
        figure = self.estimates.get(program_key(program))
        if figure is None and self.imported:
            return sum_of_parts(program, lambda part: self.estimates.get(program_key(part)))
        return figure

    def missing(self, operators: Iterable[Operator]) -> list[Operator]:
        """Which operators the table lacks, each program once."""
        lacking = {
            program_key(operator.program): operator
            for operator in operators
            if self.lookup(operator.program) is None
        }
        return list(lacking.values())

    @cached_property
    def digest(self) -> str:
        """A digest of setup and figures: two searches with one digest saw the same table."""
        lines = [self.setup.label, *(f"{k} {e.seconds!r}" for k, e in sorted(self.estimates.items()))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]

    def to_pandas(self) -> pd.DataFrame:
        """One row per operator: label, seconds, interval, rounds, MACs, parameters."""
        import pandas as pd

        rows = [
            {
                "key": key,
                "operator": self.labels[key][0] if key in self.labels else key,
                "seconds": figure.seconds,
                "low": figure.low,
                "high": figure.high,
                "rounds": figure.rounds,
                "kind": figure.kind,
                "macs": self.labels[key][1] if key in self.labels else None,
                "params": self.labels[key][2] if key in self.labels else None,
            }
            for key, figure in self.estimates.items()
        ]
        columns = ["key", "operator", "seconds", "low", "high", "rounds", "kind", "macs", "params"]
        return pd.DataFrame(rows, columns=columns).sort_values("operator", ignore_index=True)
