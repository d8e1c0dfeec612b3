"""Visits: when a setup was measured, and the state of the machine before, after, and in every round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nascli.lut.keys import Setup
from nascli.lut.store.database import Database, document_of


@dataclass(frozen=True)
class RoundConditions:
    """What the machine did during one round; None where the system does not tell.

    Attributes:
        began_at: Start of the round (seconds since the epoch).
        seconds: Duration of the round.
        bursts: Number of operators that were timed in it.
        steal: Share of one core's time that the hypervisor gave to other machines.
        elsewhere: Number of cores that other processes kept busy.
        pressure: Share of the time in which some process waited for a core.
        card: Clocks, temperature, power, and causes of slowing of the card that was measured.
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
    """One run of measuring on one setup.

    Attributes:
        began_at: Start of the run (seconds since the epoch).
        ended_at: End of the run; None if it failed, was killed, or goes on.
        before: State of the machine at the start.
        after: State of the machine at the end; None without an end.
        rounds: Conditions of each round, in order.
    """

    began_at: float
    ended_at: float | None
    before: dict[str, Any]
    after: dict[str, Any] | None
    rounds: tuple[RoundConditions, ...]


class VisitLog:
    """The visits and rounds in the store's file.

    Args:
        database: The open file.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, setup: Setup, began_at: float, before: Mapping[str, Any]) -> int:
        """Record that measuring begins.

        Args:
            setup: The setup that is measured.
            began_at: The time now (seconds since the epoch).
            before: The state of the machine, as a JSON document.

        Returns:
            The number of the visit.

        Raises:
            StoreError: The store does not know the setup.
        """
        with self._database.transaction():
            cursor = self._database.connection.execute(
                "INSERT INTO visits (setup, began_at, before) VALUES (?, ?, ?)",
                (self._database.require_setup(setup), began_at, json.dumps(dict(before), sort_keys=True)),
            )
            return int(cursor.lastrowid or 0)

    def end(self, visit: int, ended_at: float, after: Mapping[str, Any]) -> None:
        """Record that measuring ended, and the state of the machine."""
        with self._database.transaction():
            self._database.connection.execute(
                "UPDATE visits SET ended_at = ?, after = ? WHERE id = ?",
                (ended_at, json.dumps(dict(after), sort_keys=True), visit),
            )

    def add_round(self, visit: int, number: int, conditions: RoundConditions) -> None:
        """Record the conditions of a round by its number in the visit; a number is recorded once."""
        with self._database.transaction():
            self._database.connection.execute(
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

    def of_setup(self, setup: Setup) -> list[Visit]:
        """Return the visits of a setup, oldest first; empty if the store does not know the setup."""
        with self._database.reading():
            rows = self._database.connection.execute(
                "SELECT id, began_at, ended_at, before, after FROM visits WHERE setup = ? ORDER BY id",
                (self._database.setup_id(setup),),
            ).fetchall()
            return [
                Visit(
                    began_at=began_at,
                    ended_at=ended_at,
                    before=document_of(before),
                    after=None if after is None else document_of(after),
                    rounds=self._rounds(identity),
                )
                for identity, began_at, ended_at, before, after in rows
            ]

    def _rounds(self, visit: int) -> tuple[RoundConditions, ...]:
        rows = self._database.connection.execute(
            "SELECT began_at, seconds, bursts, steal, elsewhere, pressure, card FROM rounds "
            "WHERE visit = ? ORDER BY number",
            (visit,),
        )
        return tuple(
            RoundConditions(
                began_at=began_at,
                seconds=seconds,
                bursts=bursts,
                steal=steal,
                elsewhere=elsewhere,
                pressure=pressure,
                card=None if card is None else document_of(card),
            )
            for began_at, seconds, bursts, steal, elsewhere, pressure, card in rows
        )

    def delete(self, setup_id: int | None) -> None:
        """Delete the visits of a setup by its number, inside the caller's transaction."""
        connection = self._database.connection
        connection.execute(
            "DELETE FROM rounds WHERE visit IN (SELECT id FROM visits WHERE setup = ?)", (setup_id,)
        )
        connection.execute("DELETE FROM visits WHERE setup = ?", (setup_id,))
