"""A table: the figures of one setup, derived from the store's samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import MIN_ROUNDS, NOTHING, Measurement, estimates, reference_anchor
from nascli.lut.store.store import Store
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Act, Conv, Linear
from nascli.spaces.programs import Builder, Program

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
    estimates: dict[str, Measurement]
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
        least = 1 if imported else MIN_ROUNDS
        # Over all generations: what was measured anew on a busy day is held against the quiet days too.
        reference = reference_anchor(bursts.anchor)
        kind = "imported" if imported else "measured"
        return LatencyTable(setup, estimates(bursts, reference, kind, least), store.labels(setup), imported)

    def lookup(self, program: Program) -> Measurement | None:
        """The figure of a program; None if there is none. A program without nodes costs 0.

        In an imported table a program without a figure of its own is the sum of its parts, where all of
        them are there; the figure's kind says so.
        """
        if program.output == 0:
            return NOTHING
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


KIND = "sum of imported parts"
Find = Callable[[Program], Measurement | None]


def sum_of_parts(program: Program, find: Find) -> Measurement | None:
    """The figure of a program from figures of its parts; None if any part has none.

    Args:
        program: what is asked for.
        find: the figure of a part, or None.
    """
    points = program.cut_points
    # best[i]: the parts of the program up to the i-th cut point, as few as possible.
    best: list[list[Measurement] | None] = [[]] + [None] * (len(points) - 1)
    for end in range(1, len(points)):
        for start in range(end):
            before = best[start]
            if before is None:
                continue
            segment = program.segment(points[start], points[end])
            figure = find(segment)
            parts = [figure] if figure is not None else None
            if parts is None and end == start + 1:
                parts = _nodes(program, points[start], points[end], find)
            if parts is not None and (best[end] is None or len(before) + len(parts) < len(best[end] or ())):
                best[end] = before + parts
    found = best[-1]
    return None if found is None else _added(found)


def _added(parts: list[Measurement]) -> Measurement:
    seconds = sum(part.seconds for part in parts)
    half = float(np.sqrt(sum(((part.high - part.low) / 2) ** 2 for part in parts)))
    return Measurement(
        seconds, max(0.0, seconds - half), seconds + half, min(part.rounds for part in parts), KIND
    )


def _nodes(program: Program, start: int, end: int, find: Find) -> list[Measurement] | None:
    """A figure for every node between two values but activations that fuse; None if one has none."""
    parts = []
    for node in program.nodes[start:end]:
        if isinstance(node.primitive, Act) and _fuses(program, node.inputs[0]):
            continue
        builder = Builder(program.shape_of(node.inputs[0]))
        if any(program.shape_of(source) != builder.input for source in node.inputs):
            return None
        output = builder.append(node.primitive, (0,) * len(node.inputs))
        figure = find(builder.build(output))
        if figure is None:
            return None
        parts.append(figure)
    return parts


def _fuses(program: Program, value: int) -> bool:
    return value > 0 and isinstance(program.nodes[value - 1].primitive, (Conv, Linear))
