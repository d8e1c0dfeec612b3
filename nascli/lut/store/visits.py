"""Visits: when a setup was measured, and what the machine was like before, after, and in every round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nascli.lut.keys import Setup
from nascli.lut.store.database import Database, document_of


class Visits(Database):
    """The part of the store that keeps the conditions of measuring."""

    def begin_visit(self, setup: Setup, began_at: float, before: Mapping[str, Any]) -> int:
        """Note that measuring begins, and what the machine is like; returns the visit's number."""
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO visits (setup, began_at, before) VALUES (?, ?, ?)",
                (self._known_setup(setup), began_at, json.dumps(dict(before), sort_keys=True)),
            )
            return int(cursor.lastrowid or 0)

    def end_visit(self, visit: int, ended_at: float, after: Mapping[str, Any]) -> None:
        """Note that measuring ended, and what the machine is like now."""
        with self._transaction():
            self._db.execute(
                "UPDATE visits SET ended_at = ?, after = ? WHERE id = ?",
                (ended_at, json.dumps(dict(after), sort_keys=True), visit),
            )

    def add_round(self, visit: int, number: int, conditions: RoundConditions) -> None:
        """Note how one round went."""
        with self._transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO rounds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    visit,
                    number,
                    conditions.began_at,
                    conditions.seconds,
                    conditions.bursts,
                    conditions.steal,
                    conditions.elsewhere,
                    conditions.pressure,
                    None if conditions.card is None else json.dumps(conditions.card, sort_keys=True),
                ),
            )

    def visits(self, setup: Setup) -> list[Visit]:
        """When a setup was measured, and under which conditions; oldest first."""
        with self._translated():
            rows = self._db.execute(
                "SELECT id, began_at, ended_at, before, after FROM visits WHERE setup = ? ORDER BY id",
                (self._setup_id(setup),),
            ).fetchall()
            return [
                Visit(
                    began_at,
                    ended_at,
                    document_of(before),
                    None if after is None else document_of(after),
                    tuple(
                        RoundConditions(
                            began,
                            seconds,
                            bursts,
                            steal,
                            elsewhere,
                            pressure,
                            None if card is None else document_of(card),
                        )
                        for began, seconds, bursts, steal, elsewhere, pressure, card in self._db.execute(
                            "SELECT began_at, seconds, bursts, steal, elsewhere, pressure, card FROM rounds "
                            "WHERE visit = ? ORDER BY number",
                            (identity,),
                        )
                    ),
                )
                for identity, began_at, ended_at, before, after in rows
            ]


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
