"""Why to believe a table: how much of it is settled, how well it repeats, and what the machine was like meanwhile."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import numpy as np

from nascli.execution import Execution
from nascli.lut import LatencyTable, Store, program_key
from nascli.lut.statistics import MIN_ROUNDS, Sample, estimate, reference_anchor
from nascli.profiles.target import TargetSpec
from nascli.spaces.operators.definition import Operator

# An interval within 1 % is what profiling measures towards.
SETTLED = 0.01


def table_quality(
    spec: TargetSpec, execution: Execution, table: LatencyTable, models: Sequence[Operator]
) -> dict[str, Any]:
    """What the store knows about the figures of some models beside the figures.

    Returns:
        how many there are and how many are settled, median half interval and disagreement of the two halves of an
        operator's rounds, when they were taken, what the device is, and medians of the machine's state by round.
        What nobody recorded is None.
    """
    keys = {program_key(model.program) for model in models if model.program.output}
    widths = [table.estimates[key].relative_width for key in keys if key in table.estimates]
    with Store(execution.store) as store:
        history = {key: rows for key, rows in store.samples(table.setup).items() if key in keys}
        visits, facts = store.visits(table.setup), store.facts(table.setup)
    rounds = [one for visit in visits for one in visit.rounds]
    taken = [sample.taken_at for rows in history.values() for sample in rows]
    return {
        "models": len(keys),
        "settled": sum(width <= SETTLED for width in widths),
        "half_interval": _median(widths),
        "halves_apart": split_half_difference(history),
        "throttled": sum(table.estimates[key].throttled for key in keys if key in table.estimates),
        "taken": [_date(min(taken)), _date(max(taken))] if taken else None,
        "device": facts or {},
        "rounds": len(rounds),
        "elsewhere_cores": _median([r.elsewhere for r in rounds if r.elsewhere is not None]),
        "steal": _median([r.steal for r in rounds if r.steal is not None]),
        "cpu_pressure": _median([r.pressure for r in rounds if r.pressure is not None]),
    }


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
