"""The store: one SQLite file in the user's data folder, shared by all projects and processes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nascli.errors import StoreError
from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Bursts, Sample, burst_times, newest
from nascli.lut.store.columns import SampleColumns
from nascli.lut.store.database import document_of
from nascli.lut.store.visits import Visits
from nascli.spaces.counts import count
from nascli.spaces.operators.definition import Operator
from nascli.spaces.programs import Program

_OF_SETUP = "key IN (SELECT DISTINCT operator FROM samples WHERE setup = ?)"
_COLUMNS = ", ".join(field.name for field in fields(Setup))
_SAMPLE_COLUMNS = "round, anchor, seconds, taken_at, generation, waited, throttled"


class Store(Visits):
    """Measurements of operators by setup. Used as a context manager; one instance per thread."""

    def add_setup(self, setup: Setup, facts: Mapping[str, str]) -> None:
        """Make a setup known; the facts of its first appearance are kept."""
        marks = ", ".join("?" * len(astuple(setup)))
        with self._transaction():
            self._db.execute(
                f"INSERT OR IGNORE INTO setups ({_COLUMNS}, facts) VALUES ({marks}, ?)",  # noqa: S608
                (*astuple(setup), json.dumps(dict(facts), sort_keys=True)),
            )

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
        self.add_texts({program_key(program): (label, program.canonical) for label, program in labelled})

    def add_texts(self, labelled: Mapping[str, tuple[str, str]]) -> None:
        """Make programs known by key, from their labels and canonical texts; known ones are not read again.

        Raises:
            StoreError: a text that does not belong to its key.
            SpaceError: a text that is no program.
        """
        with self._translated():
            known = {key for (key,) in self._db.execute("SELECT key FROM operators")}
        rows = []
        for key, (label, text) in labelled.items():
            if key not in known:
                own, macs, params = _counted(text)
                if own != key:
                    raise StoreError(f"operator {key} does not match its program.", "Get the file again.")
                rows.append((key, label, text, macs, params))
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
        return self.add_columns(setup, SampleColumns.of(samples))

    def add_columns(self, setup: Setup, columns: SampleColumns) -> int:
        """`add_samples`, for hundreds of thousands."""
        columns.check()
        data, ends = columns.seconds.astype("<f8").tobytes(), (8 * columns.ends).tolist()
        with self._unchecked_references(), self._transaction():
            identity = self._known_setup(setup)
            found = self._db.execute(
                "SELECT key FROM operators WHERE key IN (SELECT value FROM json_each(?))",
                (json.dumps(columns.operators),),
            )
            for key in sorted(set(columns.operators) - {key for (key,) in found}):
                raise StoreError(
                    f"the store does not know the operator {key}.", "Make it known before its samples."
                )
            before = self._db.total_changes
            self._db.executemany(
                f"INSERT OR IGNORE INTO samples (setup, operator, {_SAMPLE_COLUMNS}) "  # noqa: S608
                f"VALUES ({identity}, ?, ?, ?, ?, ?, ?, ?, ?)",
                zip(
                    [columns.operators[i] for i in columns.owner.tolist()],
                    columns.round.tolist(),
                    columns.anchor.tolist(),
                    [data[start:end] for start, end in itertools.pairwise(ends)],
                    columns.taken_at.tolist(),
                    columns.generation.tolist(),
                    [None if wait != wait else wait for wait in columns.waited.tolist()],
                    columns.throttled.astype(int).tolist(),
                    strict=True,
                ),
            )
            return self._db.total_changes - before

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
        return {key: document_of(text) for key, text in rows}

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
        with self._figures():
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
                burst_times(blobs),
                np.array(anchors, dtype=float),
                np.array(generations, dtype=np.int64),
                np.array(throttled, dtype=bool),
            )

    def history(self, setup: Setup) -> dict[str, list[Sample]]:
        """All bursts of a setup ever taken, by operator, in the order of their rounds."""
        return self.columns(setup).samples()

    def columns(self, setup: Setup) -> SampleColumns:
        """`history`, for hundreds of thousands."""
        with self._figures():
            rows = self._db.execute(
                f"SELECT operator, {_SAMPLE_COLUMNS} FROM samples WHERE setup = ? "  # noqa: S608
                "ORDER BY operator, round",
                (self._setup_id(setup),),
            ).fetchall()
            if not rows:
                return SampleColumns.of({})
            keys, rounds, anchors, blobs, taken_at, generations, waited, throttled = zip(*rows, strict=True)
            for blob in blobs:
                if len(blob) == 0 or len(blob) % 8:
                    raise _no_burst(self.path, len(blob))
            numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
            return SampleColumns(
                list(numbers),
                np.fromiter((numbers[key] for key in keys), np.int64, len(rows)),
                np.array(rounds, dtype=np.int64),
                np.array(anchors, dtype=float),
                np.array(taken_at, dtype=float),
                np.array(generations, dtype=np.int64),
                # None becomes NaN.
                np.array(waited, dtype=float),
                np.array(throttled, dtype=bool),
                np.fromiter((len(blob) // 8 for blob in blobs), np.int64, len(rows)),
                np.frombuffer(b"".join(blobs), dtype="<f8").astype(np.float64),
            )

    def texts(self, setup: Setup) -> dict[str, tuple[str, str]]:
        """Label and canonical text of the operators of a setup, by key; an empty text for a label alone."""
        with self._translated():
            rows = self._db.execute(
                f"SELECT key, label, program FROM operators WHERE {_OF_SETUP}",  # noqa: S608
                (self._setup_id(setup),),
            ).fetchall()
        return {key: (label, text) for key, label, text in rows}


def _operators(rows: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, Program | None]]:
    return {
        key: (label, Program.from_canonical(program) if program else None) for key, label, program in rows
    }


def _no_burst(path: Path, size: int) -> StoreError:
    return StoreError(
        f"the store {path} is damaged: a burst of {size} bytes.",
        "Move the file away to start a new one, or name another with --store.",
    )


@lru_cache(maxsize=1 << 16)
def _counted(text: str) -> tuple[str, int, int]:
    """Key, MACs and parameters of a program's text. Tables of many devices hold the same operators."""
    program = Program.from_canonical(text)
    counts = count(program)
    return program_key(program), counts.macs, counts.params


def _facts(text: str) -> dict[str, str]:
    return {str(key): str(value) for key, value in document_of(text).items()}
