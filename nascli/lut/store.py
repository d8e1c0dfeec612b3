"""The store: one SQLite file in the user's data folder, shared by all projects and processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType

import numpy as np
from filelock import FileLock

from nascli.errors import StoreError
from nascli.lut import schema
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Sample
from nascli.spaces.counts import count
from nascli.spaces.operators import Operator
from nascli.spaces.primitives import Program

_BUSY_SECONDS = 30.0
_COLUMNS = ", ".join(field.name for field in fields(Setup))


class Store:
    """Measurements of operators by setup. Used as a context manager; one instance per thread."""

    def __init__(self, path: Path) -> None:
        """Open a store, making the file if there is none.

        Raises:
            StoreError: not a store, damaged, written by a newer nascli, or not accessible.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {path.parent}: {error.strerror}") from error
        with self._translated():
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        # One transaction, so that the three agree while another process makes the store.
        self._db.execute("BEGIN")
        (objects,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        self._db.execute("COMMIT")
        if application != schema.APPLICATION_ID and (application or version or objects):
            raise StoreError(
                f"{self.path} is an SQLite file, but not a nascli store.",
                "Name another file with --store, or set NASCLI_HOME.",
            )
        if version > schema.VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}; this nascli knows version {schema.VERSION}.",
                "Upgrade nascli: pip install --upgrade nascli",
            )
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version == 0:
            # SQLite does not wait for others when it changes the journal's mode, so one goes at a time.
            with FileLock(self.path.with_name(f".{self.path.name}.new")):
                self._db.execute("PRAGMA journal_mode = WAL")
                self._create()

    def _create(self) -> None:
        with self._transaction():
            # Another process may have made the tables while this one waited for the lock.
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in filter(str.strip, schema.TABLES.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {schema.VERSION}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error) or "already exists" in str(error):
                raise StoreError(
                    f"the store {self.path} is damaged: {error}.",
                    "Move the file away to start a new one, or name another with --store.",
                ) from error
            raise StoreError(f"cannot use the store {self.path}: {error}.", _advice(str(error))) from error
        except OSError as error:
            raise StoreError(
                f"cannot use the store {self.path}: {error.strerror}.", _advice("readonly")
            ) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise StoreError(
                f"the store {self.path} is damaged or not a store: {error}.",
                "Move the file away to start a new one, or name another with --store.",
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add_setup(self, setup: Setup, facts: Mapping[str, str]) -> None:
        """Make a setup known; the facts of its first appearance are kept."""
        marks = ", ".join("?" * len(astuple(setup)))
        with self._transaction():
            self._db.execute(
                f"INSERT OR IGNORE INTO setups ({_COLUMNS}, facts) VALUES ({marks}, ?)",  # noqa: S608
                (*astuple(setup), json.dumps(dict(facts), sort_keys=True)),
            )

    def _setup_id(self, setup: Setup) -> int | None:
        where = " AND ".join(f"{field.name} = ?" for field in fields(Setup))
        row = self._db.execute(f"SELECT id FROM setups WHERE {where}", astuple(setup)).fetchone()  # noqa: S608
        return None if row is None else int(row[0])

    def add_operators(self, operators: Iterable[Operator]) -> None:
        """Make operators known, so that rows can be read by people."""
        self.add_programs([(operator.label, operator.program) for operator in operators])

    def add_programs(self, labelled: Iterable[tuple[str, Program]]) -> None:
        """Make programs known by their labels."""
        rows = []
        for label, program in labelled:
            counts = count(program)
            rows.append((program_key(program), label, program.canonical, counts.macs, counts.params))
        with self._transaction():
            self._db.executemany("INSERT OR IGNORE INTO operators VALUES (?, ?, ?, ?, ?)", rows)

    def add_sample(self, setup: Setup, key: str, sample: Sample) -> bool:
        """Keep one burst; returns False if that operator's round was already there.

        Raises:
            StoreError: a setup or operator that was never made known, or impossible times.
        """
        seconds = np.asarray(sample.seconds, dtype="<f8")
        valid = len(seconds) > 0 and np.all(np.isfinite(seconds)) and np.all(seconds > 0)
        if not valid or not sample.anchor > 0:
            raise StoreError(f"latencies must be finite and positive, got {seconds}, anchor {sample.anchor}")
        with self._transaction():
            identity = self._setup_id(setup)
            if identity is None:
                raise StoreError(f"the store does not know the setup {setup.label}")
            cursor = self._db.execute(
                "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?)",
                (identity, key, sample.round, sample.anchor, seconds.tobytes(), sample.taken_at),
            )
            return cursor.rowcount == 1

    def add_samples(self, setup: Setup, samples: Mapping[str, Sequence[Sample]]) -> int:
        """Keep many bursts in one transaction; returns how many were new.

        Raises:
            StoreError: a setup or operator that was never made known.
        """
        with self._transaction():
            identity = self._setup_id(setup)
            if identity is None:
                raise StoreError(f"the store does not know the setup {setup.label}")
            before = self._db.total_changes
            self._db.executemany(
                "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (identity, key, s.round, s.anchor, np.asarray(s.seconds, "<f8").tobytes(), s.taken_at)
                    for key, rows in samples.items()
                    for s in rows
                ],
            )
            return self._db.total_changes - before

    def remove_setup(self, setup: Setup) -> int:
        """Delete a setup and its samples; returns how many samples there were."""
        with self._transaction():
            identity = self._setup_id(setup)
            cursor = self._db.execute("DELETE FROM samples WHERE setup = ?", (identity,))
            self._db.execute("DELETE FROM setups WHERE id = ?", (identity,))
            return cursor.rowcount

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        with self._translated():
            rows = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check").fetchall()]
            loose = self._db.execute("PRAGMA foreign_key_check").fetchall()
        problems = [row for row in rows if row != "ok"]
        return problems + ([f"{len(loose)} rows refer to nothing"] if loose else [])

    def setups(self) -> list[tuple[Setup, dict[str, str], int]]:
        """Every setup with its facts and the number of operators measured in it."""
        query = (
            f"SELECT {_COLUMNS}, facts, (SELECT count(DISTINCT operator) FROM samples "  # noqa: S608
            "WHERE setup = setups.id) FROM setups ORDER BY id"
        )
        with self._translated():
            rows = self._db.execute(query).fetchall()
            return [(Setup(*row[:-2]), _facts(row[-2]), int(row[-1])) for row in rows]

    def operators(self) -> dict[str, tuple[str, Program]]:
        """Label and program of every known operator, by key."""
        with self._translated():
            rows = self._db.execute("SELECT key, label, program FROM operators").fetchall()
        return {key: (label, Program.from_canonical(program)) for key, label, program in rows}

    def labels(self) -> dict[str, tuple[str, int, int]]:
        """Label, MACs and parameters of every known operator, by key."""
        with self._translated():
            rows = self._db.execute("SELECT key, label, macs, params FROM operators").fetchall()
        return {key: (label, macs, params) for key, label, macs, params in rows}

    def samples(self, setup: Setup) -> dict[str, list[Sample]]:
        """All bursts of a setup by operator, in the order of their rounds."""
        found: dict[str, list[Sample]] = {}
        with self._translated():
            identity = self._setup_id(setup)
            rows = self._db.execute(
                "SELECT operator, round, seconds, anchor, taken_at FROM samples WHERE setup = ? "
                "ORDER BY operator, round",
                (identity,),
            ).fetchall()
        for operator, number, blob, anchor, taken_at in rows:
            if len(blob) == 0 or len(blob) % 8:
                raise StoreError(f"the store {self.path} is damaged: a burst of {len(blob)} bytes")
            seconds = np.frombuffer(blob, dtype="<f8").astype(np.float64)
            found.setdefault(operator, []).append(Sample(number, seconds, anchor, taken_at))
        return found


def _facts(text: str) -> dict[str, str]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise StoreError(f"damaged facts of a setup: {error}") from error
    return {str(key): str(value) for key, value in document.items()}


def _advice(reason: str) -> str:
    if "full" in reason:
        return "The disk is full; what was committed is kept. Free some space and run the command again."
    if "readonly" in reason or "unable to open" in reason:
        return "Check the permissions of the file and its folder, or name another file with --store."
    if "locked" in reason:
        return "Another process holds the store; run the command again when it is done."
    return "Run the command again; what was committed is kept."
