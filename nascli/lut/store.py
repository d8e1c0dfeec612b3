"""The store: one SQLite file in the user's data folder, shared by all projects and processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from filelock import FileLock

from nascli.errors import StoreError
from nascli.lut import schema
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Bursts, Sample, low_quantiles, newest
from nascli.spaces.counts import count
from nascli.spaces.operators import Operator
from nascli.spaces.primitives import Program

_BUSY_SECONDS = 30.0
_OF_SETUP = "key IN (SELECT DISTINCT operator FROM samples WHERE setup = ?)"
_COLUMNS = ", ".join(field.name for field in fields(Setup))
_SAMPLE_COLUMNS = "round, anchor, seconds, taken_at, generation, waited, throttled"


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
        self._db.execute("PRAGMA synchronous = NORMAL")
        if version < schema.VERSION:
            # SQLite does not wait for others when it changes the journal's mode, so one goes at a time.
            with FileLock(self.path.with_name(f".{self.path.name}.new")):
                self._db.execute("PRAGMA journal_mode = WAL")
                self._upgrade()
        # Only now: while a table is replaced by a newer one, rows refer to what is not there.
        self._db.execute("PRAGMA foreign_keys = ON")

    def _upgrade(self) -> None:
        """Bring the file to the newest schema in one transaction: all of it, or nothing."""
        with self._transaction():
            # Another process may have done so while this one waited for the lock.
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            for step in range(version + 1, schema.VERSION + 1):
                for statement in schema.statements(step):
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {max(version, schema.VERSION)}")

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

    def add_named(self, labels: Mapping[str, str]) -> None:
        """Make rows known that have a label but no program (imported fused layers), by key."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO operators VALUES (?, ?, '', 0, 0)", list(labels.items())
            )

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
        return self.add_samples(setup, {key: [sample]}) == 1

    def add_samples(self, setup: Setup, samples: Mapping[str, Sequence[Sample]]) -> int:
        """Keep many bursts in one transaction; returns how many were new.

        Raises:
            StoreError: a setup or operator that was never made known, or impossible times.
        """
        rows = _sample_rows(samples)
        with self._transaction():
            identity = self._known_setup(setup)
            before = self._db.total_changes
            self._db.executemany(
                f"INSERT OR IGNORE INTO samples (setup, operator, {_SAMPLE_COLUMNS}) "  # noqa: S608
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(identity, *row) for row in rows],
            )
            return self._db.total_changes - before

    def _known_setup(self, setup: Setup) -> int:
        identity = self._setup_id(setup)
        if identity is None:
            raise StoreError(f"the store does not know the setup {setup.label}")
        return identity

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
                    _document(before),
                    None if after is None else _document(after),
                    tuple(
                        RoundConditions(
                            began,
                            seconds,
                            bursts,
                            steal,
                            elsewhere,
                            pressure,
                            None if card is None else _document(card),
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

    def add_notes(self, setup: Setup, key: str, notes: Mapping[str, Any]) -> None:
        """Keep what a runtime told of a loaded model; the newest counts."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)",
                (self._known_setup(setup), key, json.dumps(dict(notes), sort_keys=True)),
            )

    def notes(self, setup: Setup) -> dict[str, dict[str, Any]]:
        """What a runtime told of the models of a setup, by key."""
        with self._translated():
            rows = self._db.execute(
                "SELECT operator, document FROM notes WHERE setup = ?", (self._setup_id(setup),)
            ).fetchall()
        return {key: _document(text) for key, text in rows}

    def timing_cache(self, setup: Setup) -> bytes:
        """What a builder found out about kernels on this device with this version; empty at first."""
        with self._translated():
            row = self._db.execute(
                "SELECT data FROM timing_caches WHERE device = ? AND runtime = ? AND runtime_version = ?",
                (setup.device, setup.runtime, setup.runtime_version),
            ).fetchone()
        return b"" if row is None else bytes(row[0])

    def keep_timing_cache(self, setup: Setup, data: bytes) -> None:
        """Keep what a builder found out."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO timing_caches VALUES (?, ?, ?, ?)",
                (setup.device, setup.runtime, setup.runtime_version, data),
            )

    def add_networks(self, space: str, networks: Mapping[str, Sequence[int]]) -> None:
        """Note which architecture of a space (by its digest) a measured network is; codes by key."""
        with self._transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO networks VALUES (?, ?, ?)",
                [(key, space, json.dumps([int(c) for c in codes])) for key, codes in networks.items()],
            )

    def networks(self, space: str) -> dict[str, tuple[int, ...]]:
        """Codes of the networks of a space (by its digest) that were ever measured, by key."""
        with self._translated():
            rows = self._db.execute(
                "SELECT operator, codes FROM networks WHERE space = ? ORDER BY operator", (space,)
            ).fetchall()
        return {key: tuple(int(code) for code in json.loads(codes)) for key, codes in rows}

    def remove_setup(self, setup: Setup) -> int:
        """Delete a setup and its samples; returns how many samples there were."""
        with self._transaction():
            identity = self._setup_id(setup)
            cursor = self._db.execute("DELETE FROM samples WHERE setup = ?", (identity,))
            self._db.execute(
                "DELETE FROM rounds WHERE visit IN (SELECT id FROM visits WHERE setup = ?)", (identity,)
            )
            self._db.execute("DELETE FROM visits WHERE setup = ?", (identity,))
            self._db.execute("DELETE FROM notes WHERE setup = ?", (identity,))
            self._db.execute("DELETE FROM setups WHERE id = ?", (identity,))
            return cursor.rowcount

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        with self._translated():
            rows = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check").fetchall()]
            loose = self._db.execute("PRAGMA foreign_key_check").fetchall()
        problems = [row for row in rows if row != "ok"]
        return problems + ([f"{len(loose)} rows refer to nothing"] if loose else [])

    def facts(self, setup: Setup) -> dict[str, str] | None:
        """What was recorded of a setup's device; None where the setup is unknown."""
        with self._translated():
            row = self._db.execute(
                "SELECT facts FROM setups WHERE id = ?", (self._setup_id(setup),)
            ).fetchone()
        return None if row is None else _facts(row[0])

    def setups(self) -> list[tuple[Setup, dict[str, str], int]]:
        """Every setup with its facts and the number of operators measured in it."""
        query = (
            f"SELECT {_COLUMNS}, facts, (SELECT count(DISTINCT operator) FROM samples "  # noqa: S608
            "WHERE setup = setups.id) FROM setups ORDER BY id"
        )
        with self._translated():
            rows = self._db.execute(query).fetchall()
            return [(Setup(*row[:-2]), _facts(row[-2]), int(row[-1])) for row in rows]

    def operators(self, setup: Setup) -> dict[str, tuple[str, Program | None]]:
        """Label and program of the operators of a setup, by key; imported rows may have a label only."""
        with self._translated():
            return _operators(
                self._db.execute(
                    f"SELECT key, label, program FROM operators WHERE {_OF_SETUP}",  # noqa: S608
                    (self._setup_id(setup),),
                )
            )

    def all_operators(self) -> dict[str, tuple[str, Program | None]]:
        """Label and program of every known operator, by key."""
        with self._translated():
            return _operators(self._db.execute("SELECT key, label, program FROM operators"))

    def labels(self, setup: Setup) -> dict[str, tuple[str, int, int]]:
        """Label, MACs and parameters of the operators of a setup, by key."""
        with self._translated():
            rows = self._db.execute(
                f"SELECT key, label, macs, params FROM operators WHERE {_OF_SETUP}",  # noqa: S608
                (self._setup_id(setup),),
            ).fetchall()
        return {key: (label, macs, params) for key, label, macs, params in rows}

    def samples(self, setup: Setup) -> dict[str, list[Sample]]:
        """The bursts of a setup that count, by operator: those of the newest generation, by round."""
        return {key: newest(rows) for key, rows in self.history(setup).items()}

    def bursts(self, setup: Setup) -> Bursts:
        """All samples of a setup as columns: what `history` gives, for tables of many operators."""
        with self._translated():
            rows = self._db.execute(
                "SELECT operator, seconds, anchor, generation, throttled FROM samples WHERE setup = ?",
                (self._setup_id(setup),),
            ).fetchall()
        keys, blobs, anchors, generations, throttled = zip(*rows, strict=True) if rows else ((),) * 5
        for blob in blobs:
            if len(blob) == 0 or len(blob) % 8:
                raise _no_burst(self.path, len(blob))
        return Bursts(
            np.array(keys, dtype=np.str_),
            low_quantiles(blobs),
            np.array(anchors, dtype=float),
            np.array(generations, dtype=np.int64),
            np.array(throttled, dtype=bool),
        )

    def history(self, setup: Setup) -> dict[str, list[Sample]]:
        """All bursts of a setup ever taken, by operator, in the order of their rounds."""
        found: dict[str, list[Sample]] = {}
        with self._translated():
            identity = self._setup_id(setup)
            rows = self._db.execute(
                f"SELECT operator, {_SAMPLE_COLUMNS} FROM samples WHERE setup = ? "  # noqa: S608
                "ORDER BY operator, round",
                (identity,),
            ).fetchall()
        for operator, number, anchor, blob, taken_at, generation, waited, throttled in rows:
            if len(blob) == 0 or len(blob) % 8:
                raise _no_burst(self.path, len(blob))
            seconds = np.frombuffer(blob, dtype="<f8").astype(np.float64)
            found.setdefault(operator, []).append(
                Sample(number, seconds, anchor, taken_at, generation, waited, bool(throttled))
            )
        return found


def _operators(rows: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, Program | None]]:
    return {
        key: (label, Program.from_canonical(program) if program else None) for key, label, program in rows
    }


def _no_burst(path: Path, size: int) -> StoreError:
    return StoreError(f"the store {path} is damaged: a burst of {size} bytes")


def _sample_rows(samples: Mapping[str, Sequence[Sample]]) -> list[tuple[Any, ...]]:
    flat = [(key, sample) for key, some in samples.items() for sample in some]
    if flat:
        # All at once: imports bring hundreds of thousands.
        lengths = np.fromiter((len(sample.seconds) for _, sample in flat), np.int64, len(flat))
        seconds = np.concatenate([sample.seconds for _, sample in flat])
        anchors = np.fromiter((sample.anchor for _, sample in flat), np.float64, len(flat))
        if lengths.min() == 0 or not (np.all(np.isfinite(seconds) & (seconds > 0)) and np.all(anchors > 0)):
            bad = next(
                sample
                for _, sample in flat
                if not (
                    len(sample.seconds) and np.all(np.isfinite(sample.seconds)) and np.all(sample.seconds > 0)
                )
                or not sample.anchor > 0
            )
            raise StoreError(f"latencies must be finite and positive, got {bad.seconds}, anchor {bad.anchor}")
    return [
        (
            key,
            sample.round,
            sample.anchor,
            np.asarray(sample.seconds, dtype="<f8").tobytes(),
            sample.taken_at,
            sample.generation,
            sample.waited,
            int(sample.throttled),
        )
        for key, sample in flat
    ]


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise StoreError(f"damaged facts in the store: {error}") from error
    if not isinstance(document, dict):
        raise StoreError("damaged facts in the store: not a mapping")
    return document


def _facts(text: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in _document(text).items()}


def _advice(reason: str) -> str:
    if "full" in reason:
        return "The disk is full; what was committed is kept. Free some space and run the command again."
    if "readonly" in reason or "unable to open" in reason:
        return "Check the permissions of the file and its folder, or name another file with --store."
    if "locked" in reason:
        return "Another process holds the store; run the command again when it is done."
    return "Run the command again; what was committed is kept."
