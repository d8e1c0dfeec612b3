"""The latency table of one setup, derived from the store's samples."""

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
    """Latencies of operators in one setup.

    Attributes:
        setup: Device, runtime, version, precision, batch, threads, and mode.
        estimates: Measurements by operator key.
        labels: Label, MACs, and parameters by operator key.
        imported: Whether the figures come from another tool's file.

    Examples:
        >>> table = LatencyTable.read(store, setup)
        >>> table.lookup(operator.program).seconds
    """

    setup: Setup
    estimates: dict[str, Measurement]
    labels: dict[str, tuple[str, int, int]]
    imported: bool = False

    @staticmethod
    def read(store: Store, setup: Setup) -> LatencyTable:
        """Derive the table of a setup from all its samples; an empty table if there are none.

        Raises:
            StoreError: The store cannot be read.
        """
        bursts = store.bursts(setup)
        if not len(bursts.keys):
            return LatencyTable(setup, {}, {})
        imported = (store.facts(setup) or {}).get("origin") == "imported"
        # One or two rounds have no interval, so such an operator counts as not measured. An imported figure has one
        # round for each file that contains it.
        min_rounds = 1 if imported else MIN_ROUNDS
        # Over all generations, so that what was measured anew on a busy day is compared with the quiet days too.
        reference = reference_anchor(bursts.anchor)
        kind = "imported" if imported else "measured"
        return LatencyTable(
            setup, estimates(bursts, reference, kind, min_rounds), store.labels(setup), imported
        )

    def lookup(self, program: Program) -> Measurement | None:
        """Return the measurement of a program; None if the table lacks it.

        A program without nodes costs 0. In an imported table, a program without a measurement of its own is the sum
        of its parts if the table has all of them; the kind is then 'sum of imported parts'.
        """
        if program.output == 0:
            return NOTHING
        figure = self.estimates.get(program_key(program))
        if figure is None and self.imported:
            return sum_of_parts(program, lambda part: self.estimates.get(program_key(part)))
        return figure

    def missing(self, operators: Iterable[Operator]) -> list[Operator]:
        """Return the operators that the table lacks, each program once."""
        lacking = {
            program_key(operator.program): operator
            for operator in operators
            if self.lookup(operator.program) is None
        }
        return list(lacking.values())

    @cached_property
    def digest(self) -> str:
        """Digest of setup and latencies: two searches with equal digests used the same table."""
        lines = [self.setup.label, *(f"{k} {e.seconds!r}" for k, e in sorted(self.estimates.items()))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]

    def to_pandas(self) -> pd.DataFrame:
        """Return a data frame with one row per operator.

        Its columns are key, operator (the label), seconds, low, high, rounds, kind, macs, and params.
        """
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
    """Return the latency of a program as the sum of as few parts as possible; None if a part is missing.

    Args:
        program: The program to be taken apart at its cut points.
        find: Returns the measurement of a part, or None.

    Returns:
        The sum, with an interval that adds up the variances of the parts.
    """
    points = program.cut_points
    # best[i]: the fewest parts that make up the program as far as the i-th cut point.
    best: list[list[Measurement] | None] = [[]] + [None] * (len(points) - 1)
    for end in range(1, len(points)):
        for start in range(end):
            before = best[start]
            if before is None:
                continue
            segment = program.segment(points[start], points[end])
            figure = find(segment)
            added = [figure] if figure is not None else None
            if added is None and end == start + 1:
                added = _nodes(program, points[start], points[end], find)
            if added is not None and (best[end] is None or len(before) + len(added) < len(best[end] or ())):
                best[end] = before + added
    parts = best[-1]
    return None if parts is None else _sum(parts)


def _sum(parts: list[Measurement]) -> Measurement:
    seconds = sum(part.seconds for part in parts)
    half = float(np.sqrt(sum(((part.high - part.low) / 2) ** 2 for part in parts)))
    return Measurement(
        seconds, max(0.0, seconds - half), seconds + half, min(part.rounds for part in parts), KIND
    )


def _nodes(program: Program, start: int, end: int, find: Find) -> list[Measurement] | None:
    """Return a measurement for each node between two values; None if one is missing.

    An activation behind a convolution or a linear layer is left out, since runtimes fuse it.
    """
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
