"""Why to believe a table: how much of it is settled, how well it repeats, and what the machine was like meanwhile."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nascli.execution import Execution
from nascli.lut import LatencyTable, Store, program_key
from nascli.lut.statistics import MIN_ROUNDS, Sample, estimate, reference_anchor
from nascli.spaces.operators.definition import Operator

# Profiling measures towards an interval within 1 %.
SETTLED = 0.01


@dataclass(frozen=True)
class TableQuality:
    """What a store knows about the figures of some models beside the figures. What nobody recorded is None.

    Attributes:
        models: How many models there are.
        settled: How many of them have an interval within 1 %.
        half_interval: The median of half the 95 % interval over the figure.
        halves_apart: The median difference between the figures of the even and the odd rounds of a model.
        throttled: How many figures rest on samples of a device that was slowed down.
        taken: The days of the first and of the last sample.
        device: What was recorded of the device.
        rounds: The number of rounds.
        elsewhere_cores: Cores that other processes used; the median over rounds.
        steal: The share of time that a hypervisor took; the median over rounds.
        cpu_pressure: The share of time that work waited for a processor; the median over rounds.
    """

    models: int
    settled: int
    half_interval: float | None
    halves_apart: float | None
    throttled: int
    taken: tuple[str, str] | None
    device: Mapping[str, str]
    rounds: int
    elsewhere_cores: float | None
    steal: float | None
    cpu_pressure: float | None

    def to_json(self) -> dict[str, object]:
        """The document that costs.json and result.json keep as evidence."""
        return {
            "models": self.models,
            "settled": self.settled,
            "half_interval": self.half_interval,
            "halves_apart": self.halves_apart,
            "throttled": self.throttled,
            "taken": None if self.taken is None else list(self.taken),
            "device": dict(self.device),
            "rounds": self.rounds,
            "elsewhere_cores": self.elsewhere_cores,
            "steal": self.steal,
            "cpu_pressure": self.cpu_pressure,
        }


def table_quality(table: LatencyTable, models: Sequence[Operator], execution: Execution) -> TableQuality:
    """How well the figures of some models in a table are known.

    Args:
        table: The table.
        models: What matters of it.
        execution: Names the store that has the table's samples.
    """
    keys = {program_key(model.program) for model in models if model.program.output}
    figures = [table.estimates[key] for key in keys if key in table.estimates]
    widths = [figure.relative_width for figure in figures]
    with Store(execution.store) as store:
        history = {key: rows for key, rows in store.samples(table.setup).items() if key in keys}
        visits, facts = store.visits(table.setup), store.facts(table.setup)
    rounds = [conditions for visit in visits for conditions in visit.rounds]
    times = [sample.taken_at for rows in history.values() for sample in rows]
    return TableQuality(
        models=len(keys),
        settled=sum(width <= SETTLED for width in widths),
        half_interval=_median(widths),
        halves_apart=split_half_difference(history),
        throttled=sum(figure.throttled for figure in figures),
        taken=(_date(min(times)), _date(max(times))) if times else None,
        device=facts or {},
        rounds=len(rounds),
        elsewhere_cores=_median([r.elsewhere for r in rounds if r.elsewhere is not None]),
        steal=_median([r.steal for r in rounds if r.steal is not None]),
        cpu_pressure=_median([r.pressure for r in rounds if r.pressure is not None]),
    )


def split_half_difference(history: dict[str, list[Sample]]) -> float | None:
    """Median relative difference between the figures of an operator's even and odd rounds; None for too few rounds."""
    apart = []
    for rows in history.values():
        halves = [rows[0::2], rows[1::2]]
        if min(map(len, halves)) < MIN_ROUNDS:
            continue
        reference = reference_anchor([sample.anchor for sample in rows])
        first, second = (estimate(half, reference).seconds for half in halves)
        apart.append(abs(first / second - 1))
    return _median(apart)


def _median(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.median(finite)) if finite else None


def _date(seconds: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return "an impossible date"
