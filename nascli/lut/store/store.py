"""The store: one SQLite file in the user's data folder, shared by all projects and processes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from nascli.errors import StoreError
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Bursts, Sample, burst_times, newest
from nascli.lut.store.columns import SampleColumns
from nascli.lut.store.database import Database, document_of
from nascli.lut.store.visits import RoundConditions, Visit, VisitLog
from nascli.spaces.counts import count
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program

_OF_SETUP = "key IN (SELECT DISTINCT operator FROM samples WHERE setup = ?)"
_COLUMNS = ", ".join(field.name for field in fields(Setup))
_SAMPLE_COLUMNS = "round, anchor, seconds, taken_at, generation, waited, throttled"


class Store:
    """Measurements of operators by setup. Used as a context manager.

    Several processes may have one store open; each instance belongs to one thread. What a method has written when
    it returns survives the death of the process. Every method raises StoreError if the file cannot be used.

    Args:
        path: The file; it is made with its folder if it does not exist, and upgraded if it is older.

    Raises:
        StoreError: The file is not a store, is damaged, was written by a newer nascli, or cannot be accessed.

    Examples:
        >>> with Store(Path("store.sqlite")) as store:
        ...     table = LatencyTable.read(store, setup)
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._visits = VisitLog(self._database)

    @property
    def path(self) -> Path:
        """The file."""
        return self._database.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def integrity(self) -> list[str]:
        """Return the problems that SQLite finds in the file; empty if there are none."""
        return self._database.integrity()

    # Setups

    def add_setup(self, setup: Setup, facts: Mapping[str, str]) -> None:
        """Make a setup known.

        Args:
            setup: The setup.
            facts: What is to be recorded about its device. The facts that were recorded first are kept.
        """
        marks = ", ".join("?" * len(astuple(setup)))
        with self._database.transaction():
            self._database.connection.execute(
                f"INSERT OR IGNORE INTO setups ({_COLUMNS}, facts) VALUES ({marks}, ?)",  # noqa: S608
                (*astuple(setup), json.dumps(dict(facts), sort_keys=True)),
            )

    def setups(self) -> list[tuple[Setup, dict[str, str], int]]:
        """Return every setup with its facts and the number of operators measured in it."""
        query = (
            f"SELECT {_COLUMNS}, facts, (SELECT count(DISTINCT operator) FROM samples "  # noqa: S608
            "WHERE setup = setups.id) FROM setups ORDER BY id"
        )
        with self._database.reading():
            rows = self._database.connection.execute(query).fetchall()
            return [(Setup(*row[:-2]), _facts(row[-2]), int(row[-1])) for row in rows]

    def facts(self, setup: Setup) -> dict[str, str] | None:
        """Return what was recorded about a setup's device; None if the store does not know the setup."""
        with self._database.reading():
            row = self._database.connection.execute(
                "SELECT facts FROM setups WHERE id = ?", (self._database.setup_id(setup),)
            ).fetchone()
        return None if row is None else _facts(row[0])

    def remove_setup(self, setup: Setup) -> int:
        """Delete a setup with its samples, notes, and visits; return the number of samples."""
        with self._database.transaction():
            identity = self._database.setup_id(setup)
            connection = self._database.connection
            cursor = connection.execute("DELETE FROM samples WHERE setup = ?", (identity,))
            self._visits.delete(identity)
            connection.execute("DELETE FROM notes WHERE setup = ?", (identity,))
            connection.execute("DELETE FROM setups WHERE id = ?", (identity,))
            return cursor.rowcount

    # Operators

    def add_operators(self, operators: Iterable[Operator]) -> None:
        """Make operators known by their labels and programs, before samples of them are added."""
        self.add_programs([(operator.label, operator.program) for operator in operators])

    def add_programs(self, labelled: Iterable[tuple[str, Program]]) -> None:
        """Make programs known, each given with its label."""
        self.add_texts({program_key(program): (label, program.canonical) for label, program in labelled})

    def add_texts(self, labelled: Mapping[str, tuple[str, str]]) -> None:
        """Make programs known, given by key with their labels and canonical texts.

        The text of a key that is known already is not parsed.

        Raises:
            StoreError: A text does not belong to its key.
            SpaceError: A text is not a program.
        """
        with self._database.reading():
            known = {key for (key,) in self._database.connection.execute("SELECT key FROM operators")}
        rows = []
        for key, (label, text) in labelled.items():
            if key not in known:
                own_key, macs, params = _counted(text)
                if own_key != key:
                    raise StoreError(f"operator {key} does not match its program.", "Get the file again.")
                rows.append((key, label, text, macs, params))
        with self._database.transaction():
            self._database.connection.executemany(
                "INSERT OR IGNORE INTO operators VALUES (?, ?, ?, ?, ?)", rows
            )

    def add_named(self, labels: Mapping[str, str]) -> None:
        """Make rows known by key that have a label but no program, such as imported fused layers."""
        with self._database.transaction():
            self._database.connection.executemany(
                "INSERT OR IGNORE INTO operators VALUES (?, ?, '', 0, 0)", list(labels.items())
            )

    def operators(self, setup: Setup) -> dict[str, tuple[str, Program | None]]:
        """Return label and program of the operators of a setup by key; the program of a named row is None."""
        with self._database.reading():
            return _operators(
                self._database.connection.execute(
                    f"SELECT key, label, program FROM operators WHERE {_OF_SETUP}",  # noqa: S608
                    (self._database.setup_id(setup),),
                )
            )

    def all_operators(self) -> dict[str, tuple[str, Program | None]]:
        """Return label and program of every known operator by key; the program of a named row is None."""
        with self._database.reading():
            return _operators(self._database.connection.execute("SELECT key, label, program FROM operators"))

    def labels(self, setup: Setup) -> dict[str, tuple[str, int, int]]:
        """Return label, MACs, and parameters of the operators of a setup by key."""
        with self._database.reading():
            rows = self._database.connection.execute(
                f"SELECT key, label, macs, params FROM operators WHERE {_OF_SETUP}",  # noqa: S608
                (self._database.setup_id(setup),),
            ).fetchall()
        return {key: (label, macs, params) for key, label, macs, params in rows}

    def texts(self, setup: Setup) -> dict[str, tuple[str, str]]:
        """Return label and canonical text of the operators of a setup by key; the text of a named row is empty."""
        with self._database.reading():
            rows = self._database.connection.execute(
                f"SELECT key, label, program FROM operators WHERE {_OF_SETUP}",  # noqa: S608
                (self._database.setup_id(setup),),
            ).fetchall()
        return {key: (label, text) for key, label, text in rows}

    # Samples

    def add_sample(self, setup: Setup, key: str, sample: Sample) -> bool:
        """Add one burst of the operator `key`.

        Returns:
            False if the store has a burst of that operator in that round already, which is then kept.

        Raises:
            StoreError: The store does not know the setup or the operator, or a time is impossible.
        """
        return self.add_samples(setup, {key: [sample]}) == 1

    def add_samples(self, setup: Setup, samples: Mapping[str, Sequence[Sample]]) -> int:
        """Add bursts by operator key, all in one transaction.

        Returns:
            The number of bursts that are new.

        Raises:
            StoreError: The store does not know the setup or an operator, or a time is impossible. Nothing is
                added then.
        """
        return self.add_columns(setup, SampleColumns.of(samples))

    def add_columns(self, setup: Setup, columns: SampleColumns) -> int:
        """Add bursts as `add_samples` does; meant for hundreds of thousands."""
        columns.check()
        data, ends = columns.seconds.astype("<f8").tobytes(), (8 * columns.ends).tolist()
        connection = self._database.connection
        with self._database.unchecked_references(), self._database.transaction():
            identity = self._database.require_setup(setup)
            self._require_operators(columns.operators)
            before = connection.total_changes
            connection.executemany(
                f"INSERT OR IGNORE INTO samples (setup, operator, {_SAMPLE_COLUMNS}) "  # noqa: S608
                f"VALUES ({identity}, ?, ?, ?, ?, ?, ?, ?, ?)",
                zip(
                    [columns.operators[i] for i in columns.owner.tolist()],
                    columns.round.tolist(),
                    columns.anchor.tolist(),
                    [data[start:end] for start, end in itertools.pairwise(ends)],
                    columns.taken_at.tolist(),
                    columns.generation.tolist(),
                    # NaN becomes NULL.
                    [None if seconds != seconds else seconds for seconds in columns.waited.tolist()],
                    columns.throttled.astype(int).tolist(),
                    strict=True,
                ),
            )
            return connection.total_changes - before

    def _require_operators(self, keys: Sequence[str]) -> None:
        rows = self._database.connection.execute(
            "SELECT key FROM operators WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
        )
        unknown = sorted(set(keys) - {key for (key,) in rows})
        if unknown:
            raise StoreError(
                f"the store does not know the operator {unknown[0]}.", "Make it known before its samples."
            )

    def samples(self, setup: Setup) -> dict[str, list[Sample]]:
        """Return the bursts of a setup that count by operator key: those of the newest generation, by round."""
        return {key: newest(rows) for key, rows in self.history(setup).items()}

    def history(self, setup: Setup) -> dict[str, list[Sample]]:
        """Return all bursts of a setup by operator key, of every generation, by round."""
        return self.columns(setup).samples()

    def bursts(self, setup: Setup) -> Bursts:
        """Return what a table is derived from: one low quantile for each burst of `history`."""
        with self._database.reading_numbers():
            rows = self._database.connection.execute(
                "SELECT operator, seconds, anchor, generation, throttled FROM samples WHERE setup = ?",
                (self._database.setup_id(setup),),
            ).fetchall()
            keys, blobs, anchors, generations, throttled = zip(*rows, strict=True) if rows else ((),) * 5
            self._check_bursts(blobs)
            return Bursts(
                np.array(keys, dtype=np.str_),
                burst_times(blobs),
                np.array(anchors, dtype=float),
                np.array(generations, dtype=np.int64),
                np.array(throttled, dtype=bool),
            )

    def columns(self, setup: Setup) -> SampleColumns:
        """Return what `history` returns as columns; meant for hundreds of thousands of bursts."""
        with self._database.reading_numbers():
            rows = self._database.connection.execute(
                f"SELECT operator, {_SAMPLE_COLUMNS} FROM samples WHERE setup = ? "  # noqa: S608
                "ORDER BY operator, round",
                (self._database.setup_id(setup),),
            ).fetchall()
            if not rows:
                return SampleColumns.of({})
            keys, rounds, anchors, blobs, taken_at, generations, waited, throttled = zip(*rows, strict=True)
            self._check_bursts(blobs)
            numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
            return SampleColumns(
                operators=list(numbers),
                owner=np.fromiter((numbers[key] for key in keys), np.int64, len(rows)),
                round=np.array(rounds, dtype=np.int64),
                anchor=np.array(anchors, dtype=float),
                taken_at=np.array(taken_at, dtype=float),
                generation=np.array(generations, dtype=np.int64),
                # NULL becomes NaN.
                waited=np.array(waited, dtype=float),
                throttled=np.array(throttled, dtype=bool),
                lengths=np.fromiter((len(blob) // 8 for blob in blobs), np.int64, len(rows)),
                seconds=np.frombuffer(b"".join(blobs), dtype="<f8").astype(np.float64),
            )

    def _check_bursts(self, blobs: Iterable[bytes]) -> None:
        for blob in blobs:
            if len(blob) == 0 or len(blob) % 8:
                raise self._database.damage(f"a burst of {len(blob)} bytes")

    # What runtimes tell besides times

    def add_notes(self, setup: Setup, key: str, notes: Mapping[str, Any]) -> None:
        """Record what a runtime reports about a loaded model, as a JSON document; the newest is kept.

        Raises:
            StoreError: The store does not know the setup or the operator.
        """
        with self._database.transaction():
            self._database.connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)",
                (self._database.require_setup(setup), key, json.dumps(dict(notes), sort_keys=True)),
            )

    def notes(self, setup: Setup) -> dict[str, dict[str, Any]]:
        """Return what a runtime reported about the models of a setup, by operator key."""
        with self._database.reading():
            rows = self._database.connection.execute(
                "SELECT operator, document FROM notes WHERE setup = ?", (self._database.setup_id(setup),)
            ).fetchall()
        return {key: document_of(text) for key, text in rows}

    def timing_cache(self, setup: Setup) -> bytes:
        """Return what a builder has learned about kernels on a device with a runtime's version; empty at first."""
        with self._database.reading():
            row = self._database.connection.execute(
                "SELECT data FROM timing_caches WHERE device = ? AND runtime = ? AND runtime_version = ?",
                (setup.device, setup.runtime, setup.runtime_version),
            ).fetchone()
        return b"" if row is None else bytes(row[0])

    def keep_timing_cache(self, setup: Setup, data: bytes) -> None:
        """Replace what `timing_cache` returns for the device, runtime, and version of a setup."""
        with self._database.transaction():
            self._database.connection.execute(
                "INSERT OR REPLACE INTO timing_caches VALUES (?, ?, ?, ?)",
                (setup.device, setup.runtime, setup.runtime_version, data),
            )

    # Networks

    def add_networks(self, space: str, networks: Mapping[str, Sequence[int]]) -> None:
        """Record which architectures of a space some measured networks are.

        Args:
            space: The digest of the space.
            networks: The choices of each network by its operator key.
        """
        with self._database.transaction():
            self._database.connection.executemany(
                "INSERT OR IGNORE INTO networks VALUES (?, ?, ?)",
                [
                    (key, space, json.dumps([int(choice) for choice in choices]))
                    for key, choices in networks.items()
                ],
            )

    def networks(self, space: str) -> dict[str, tuple[int, ...]]:
        """Return the choices of all measured networks of a space (given by its digest), by operator key."""
        with self._database.reading():
            rows = self._database.connection.execute(
                "SELECT operator, codes FROM networks WHERE space = ? ORDER BY operator", (space,)
            ).fetchall()
        return {key: tuple(int(choice) for choice in json.loads(choices)) for key, choices in rows}

    # Visits

    def begin_visit(self, setup: Setup, began_at: float, before: Mapping[str, Any]) -> int:
        """Record that measuring begins, and the state of the machine; see `VisitLog.begin`."""
        return self._visits.begin(setup, began_at, before)

    def end_visit(self, visit: int, ended_at: float, after: Mapping[str, Any]) -> None:
        """Record that measuring ended, and the state of the machine; see `VisitLog.end`."""
        self._visits.end(visit, ended_at, after)

    def add_round(self, visit: int, number: int, conditions: RoundConditions) -> None:
        """Record the conditions of a round; see `VisitLog.add_round`."""
        self._visits.add_round(visit, number, conditions)

    def visits(self, setup: Setup) -> list[Visit]:
        """Return the visits of a setup, oldest first."""
        return self._visits.of_setup(setup)


def _operators(rows: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, Program | None]]:
    return {
        key: (label, Program.from_canonical(program) if program else None) for key, label, program in rows
    }


@lru_cache(maxsize=1 << 16)
def _counted(text: str) -> tuple[str, int, int]:
    """Return key, MACs, and parameters of a program's text. Tables of many devices hold the same operators."""
    program = Program.from_canonical(text)
    counts = count(program)
    return program_key(program), counts.macs, counts.params


def _facts(text: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in document_of(text).items()}
