"""What disturbs measurements on this machine, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nascli.errors import Remedy
from nascli.lut.store.visits import RoundConditions
from nascli.profiles.conditions import governors, quota

# A median round is disturbed above these: a share of a core, and a number of cores.
_MAX_STEAL, _MAX_ELSEWHERE = 0.01, 0.1
# Other processes compete for the cores above this load average.
_MAX_LOAD = 0.5


@dataclass(frozen=True)
class Advice:
    """One source of noise.

    Attributes:
        what: What was observed, as a clause.
        do: What to do about it, as a sentence or a command of the system.
        remedies: The same as data; empty where nascli can do nothing about it.
    """

    what: str
    do: str
    remedies: tuple[Remedy, ...] = ()


def machine_advice(threads: int = 1) -> list[Advice]:
    """Return the sources of noise that can be seen before anything is measured.

    Args:
        threads: The threads that measuring will use.
    """
    advice = []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > _MAX_LOAD:
        advice.append(
            Advice(f"the load average is {load:.1f}: other processes compete for the cores", "Stop them.")
        )
    slow = governors() - {"performance"}
    if slow:
        advice.append(
            Advice(
                f"the frequency governor is {', '.join(sorted(slow))}: the clock follows the load",
                "sudo cpupower frequency-set --governor performance",
            )
        )
    limit = quota()
    if limit is not None and limit < threads + 1:
        advice.append(
            Advice(
                f"the container may use {limit:g} cores only and is stopped when it has used them up",
                f"Allow it at least {threads + 1} cores.",
            )
        )
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    if threads > cores:
        advice.append(
            Advice(
                f"{threads} threads share {cores} cores",
                f"Use at most {cores}.",
                (Remedy(arguments={"threads": cores}),),
            )
        )
    if _is_on(Path("/sys/devices/system/cpu/smt/active")) and threads > cores // 2:
        advice.append(
            Advice(
                "threads of one core share its units",
                "Use at most half as many threads as there are logical cores.",
            )
        )
    if _battery_discharges():
        advice.append(Advice("the machine runs on its battery", "Plug it in."))
    return advice


def round_advice(rounds: Sequence[RoundConditions]) -> list[Advice]:
    """Return the sources of noise that disturbed the median of some rounds, and those that disturbed their card."""
    advice = []
    steal = _median_of_known([r.steal for r in rounds])
    if steal is not None and steal > _MAX_STEAL:
        advice.append(
            Advice(
                f"the hypervisor took {steal:.0%} of a core away",
                "Measure on a machine of its own, or at another hour.",
            )
        )
    elsewhere = _median_of_known([r.elsewhere for r in rounds])
    if elsewhere is not None and elsewhere > _MAX_ELSEWHERE:
        advice.append(
            Advice(f"other processes kept {elsewhere:.1f} cores busy", "Stop them, and profile again.")
        )
    return [*advice, *_card_advice([r.card for r in rounds if r.card is not None])]


def _card_advice(states: Sequence[dict[str, Any]]) -> list[Advice]:
    advice = []
    slowed = [state["slowed_by"] for state in states if state.get("slowed_by")]
    if slowed:
        reasons = sorted({reason for causes in slowed for reason in causes})
        advice.append(
            Advice(
                f"the card was slowed down in {len(slowed)} of {len(states)} rounds ({', '.join(reasons)})",
                "Cool it, raise its power limit, or hold a clock that it can keep; then measure anew what did not "
                "settle.",
                (
                    Remedy(arguments={"clock_mhz": None}),
                    Remedy(job="profile", arguments={"unstable": True}),
                ),
            )
        )
    others = {pid for state in states for pid in state.get("others") or ()}
    if others:
        advice.append(
            Advice(
                f"other processes used the card ({', '.join(map(str, sorted(others)))})",
                "Stop them, and profile again.",
            )
        )
    return advice


def _median_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _is_on(path: Path) -> bool:
    try:
        return path.read_text().strip() == "1"
    except OSError:
        return False


def _battery_discharges() -> bool:
    for path in Path("/sys/class/power_supply").glob("BAT*/status"):
        try:
            if path.read_text().strip() == "Discharging":
                return True
        except OSError:
            continue
    return False
