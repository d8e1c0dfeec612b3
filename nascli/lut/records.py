"""What the store keeps of a visit to the device, beside the samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RoundConditions:
    """What the machine did during one round; None where the system does not say.

    Attributes:
        began_at: seconds since the epoch.
        seconds: how long the round took.
        bursts: operators timed in it.
        steal: share of a core's time that the hypervisor gave to others.
        elsewhere: cores that other processes kept busy.
        pressure: share of the time in which some process waited for a core.
        card: clocks, temperature, power and what slows it, of the card that was measured on.
    """

    began_at: float
    seconds: float
    bursts: int
    steal: float | None
    elsewhere: float | None
    pressure: float | None
    card: dict[str, Any] | None = None


@dataclass(frozen=True)
class Visit:
    """One run of measuring: when, what the machine was like before and after, and each round of it."""

    began_at: float
    ended_at: float | None
    before: dict[str, Any]
    after: dict[str, Any] | None
    rounds: tuple[RoundConditions, ...]
