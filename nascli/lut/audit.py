"""Auditing a store: what is damaged, impossible, unstable, or stale."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nascli.errors import NascliError
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import MIN_ROUNDS, burst_time, estimate, reference_anchor
from nascli.lut.store.store import Store
from nascli.spaces.programs import Program

# Two halves of an operator's rounds that differ by more than this disagree.
_DISAGREEMENT = 0.05
# A sample may seem to come from this many seconds ahead before the clock is doubted.
_CLOCK_SLACK = 60.0


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and how bad: 'damage' or 'warning'."""

    severity: str
    setup: str
    what: str


def audit(store: Store, current_versions: Mapping[str, str]) -> list[Finding]:
    """Look through a store.

    Args:
        store: what to look through.
        current_versions: version installed now, by runtime.
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
    for setup, _, _ in store.setups():
        findings += _audit_setup(store, setup, operators, current_versions)
    return findings


def _audit_setup(
    store: Store,
    setup: Setup,
    operators: Mapping[str, tuple[str, Program | None]],
    versions: Mapping[str, str],
) -> list[Finding]:
    findings = []
    now = versions.get(setup.runtime)
    if now is not None and now != setup.runtime_version:
        findings.append(
            Finding(
                "warning", setup.label, f"stale: {setup.runtime} is {now} now; profile again for its figures"
            )
        )
    samples = store.samples(setup)
    if not samples:
        return findings
    reference = reference_anchor([s.anchor for rows in samples.values() for s in rows])
    for key, rows in samples.items():
        name = operators[key][0] if key in operators else key
        for sample in rows:
            if not np.all(np.isfinite(sample.seconds) & (sample.seconds > 0)) or not sample.anchor > 0:
                findings.append(
                    Finding("damage", setup.label, f"{name}: impossible time in round {sample.round}")
                )
        halves = [rows[0::2], rows[1::2]]
        if all(len(half) >= MIN_ROUNDS for half in halves):
            first, second = (estimate(half, reference).seconds for half in halves)
            if abs(first / second - 1) > _DISAGREEMENT:
                findings.append(
                    Finding(
                        "warning",
                        setup.label,
                        f"{name}: its two halves differ by {abs(first / second - 1):.1%}",
                    )
                )
    findings += _repeats(store, setup, operators)
    anchors = [burst_time([s.anchor for s in rows]) for rows in samples.values()]
    if max(anchors) > 2 * min(anchors):
        findings.append(
            Finding(
                "warning", setup.label, f"the machine's speed varied {max(anchors) / min(anchors):.1f}-fold"
            )
        )
    return findings


def _repeats(
    store: Store, setup: Setup, operators: Mapping[str, tuple[str, Program | None]]
) -> list[Finding]:
    """Operators whose last two measurements disagree, and samples from the future."""
    findings = []
    for key, rows in store.history(setup).items():
        name = operators[key][0] if key in operators else key
        if max(row.taken_at for row in rows) > time.time() + _CLOCK_SLACK:
            findings.append(
                Finding("warning", setup.label, f"{name}: taken in the future; the clock was changed")
            )
        last = rows[-1].generation
        runs = [[row for row in rows if row.generation == g] for g in (last - 1, last)]
        if all(len(run) >= MIN_ROUNDS for run in runs):
            # Each in units of its own anchors, so that a machine that became faster as a whole agrees.
            before, now = (estimate(run, 1.0).seconds for run in runs)
            if abs(now / before - 1) > _DISAGREEMENT:
                findings.append(
                    Finding(
                        "warning",
                        setup.label,
                        f"{name}: measured anew it differs by {now / before - 1:+.1%} from the time before",
                    )
                )
    return findings
