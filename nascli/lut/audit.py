"""Auditing a store: what is damaged, impossible, unstable, or stale."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nascli.errors import NascliError
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import MIN_ROUNDS, Sample, burst_time, estimate, reference_anchor
from nascli.lut.store.store import Store
from nascli.spaces.programs import Program

# Two measurements of one operator that differ by more than this disagree.
_DISAGREEMENT = 0.05
# A sample may come from this many seconds ahead before the clock is doubted.
_CLOCK_SLACK = 60.0
# Ratio between the slowest and the fastest anchor of a setup above which the machine's speed is reported.
_ANCHOR_RATIO = 2.0
_Samples = Mapping[str, Sequence[Sample]]


@dataclass(frozen=True)
class Finding:
    """One problem of a store.

    Attributes:
        severity: 'damage' or 'warning'.
        setup: Label of the setup that is affected; empty if the whole store is.
        what: Description of the problem.
    """

    severity: str
    setup: str
    what: str


def audit(store: Store, current_versions: Mapping[str, str]) -> list[Finding]:
    """Look for problems in a store.

    Args:
        store: The store to be checked.
        current_versions: The version that is installed now, by the runtime's name.

    Returns:
        The problems, those of the whole store first.

    Raises:
        StoreError: The store cannot be read.
    """
    findings = [Finding("damage", "", problem) for problem in store.integrity()]
    operators: dict[str, tuple[str, Program | None]] = {}
    try:
        operators = store.all_operators()
    except NascliError as error:
        findings.append(Finding("damage", "", error.message))
    for key, (label, program) in operators.items():
        if program is not None and program_key(program) != key:
            findings.append(Finding("damage", "", f"{label}: its key does not match its program"))
    labels = {key: label for key, (label, _) in operators.items()}
    for setup, _, _ in store.setups():
        findings += [
            Finding(severity, setup.label, what)
            for severity, what in _problems(store, setup, labels, current_versions)
        ]
    return findings


def _problems(
    store: Store, setup: Setup, labels: Mapping[str, str], versions: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield severity and description of each problem of a setup."""
    now = versions.get(setup.runtime)
    if now is not None and now != setup.runtime_version:
        yield "warning", f"stale: {setup.runtime} is {now} now; profile again for its figures"
    samples = store.samples(setup)
    if not samples:
        return
    yield from _sample_problems(samples, labels)
    yield from _history_problems(store.history(setup), labels)
    anchors = [burst_time([s.anchor for s in rows]) for rows in samples.values()]
    if max(anchors) > _ANCHOR_RATIO * min(anchors):
        yield "warning", f"the machine's speed varied {max(anchors) / min(anchors):.1f}-fold"


def _sample_problems(samples: _Samples, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield impossible times, and operators whose even and odd rounds disagree."""
    reference = reference_anchor([s.anchor for rows in samples.values() for s in rows])
    for key, rows in samples.items():
        label = labels.get(key, key)
        for sample in rows:
            if not np.all(np.isfinite(sample.seconds) & (sample.seconds > 0)) or not sample.anchor > 0:
                yield "damage", f"{label}: impossible time in round {sample.round}"
        halves = [rows[0::2], rows[1::2]]
        if all(len(half) >= MIN_ROUNDS for half in halves):
            first, second = (estimate(half, reference).seconds for half in halves)
            difference = abs(first / second - 1)
            if difference > _DISAGREEMENT:
                yield "warning", f"{label}: its two halves differ by {difference:.1%}"


def _history_problems(history: _Samples, labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield operators whose last two generations disagree, and samples from the future."""
    for key, rows in history.items():
        label = labels.get(key, key)
        if max(row.taken_at for row in rows) > time.time() + _CLOCK_SLACK:
            yield "warning", f"{label}: taken in the future; the clock was changed"
        last = rows[-1].generation
        generations = [[row for row in rows if row.generation == g] for g in (last - 1, last)]
        if all(len(generation) >= MIN_ROUNDS for generation in generations):
            # Each in units of its own anchors, so that a machine that became faster as a whole agrees.
            before, now = (estimate(generation, 1.0).seconds for generation in generations)
            if abs(now / before - 1) > _DISAGREEMENT:
                yield (
                    "warning",
                    f"{label}: measured anew it differs by {now / before - 1:+.1%} from the time before",
                )
