"""The store's SQLite file: opened, upgraded, written in transactions, and its errors told as a user meets them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock

from nascli.errors import StoreError
from nascli.lut.keys import Setup
from nascli.lut.store import schema

_BUSY_SECONDS = 30.0
_AWAY = "Move the file away to start a new one, or name another with --store."


class Database:
    """One file. Used as a context manager; one instance per thread."""

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
    def _figures(self) -> Iterator[None]:
        """`_translated`, where rows become numbers: what is none is damage too."""
        with self._translated():
            try:
                yield
            except (TypeError, ValueError, OverflowError) as error:
                raise StoreError(f"the store {self.path} is damaged: {error}.", _AWAY) from error

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

    @contextmanager
    def _unchecked_references(self) -> Iterator[None]:
        """Around a transaction that has looked up what its rows refer to, once instead of for each row."""
        self._db.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self._db.execute("PRAGMA foreign_keys = ON")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def integrity(self) -> list[str]:
        """What SQLite itself finds wrong with the file."""
        with self._translated():
            rows = [str(row[0]) for row in self._db.execute("PRAGMA integrity_check").fetchall()]
            loose = self._db.execute("PRAGMA foreign_key_check").fetchall()
        problems = [row for row in rows if row != "ok"]
        return problems + ([f"{len(loose)} rows refer to nothing"] if loose else [])

    def _setup_id(self, setup: Setup) -> int | None:
        where = " AND ".join(f"{field.name} = ?" for field in fields(Setup))
        row = self._db.execute(f"SELECT id FROM setups WHERE {where}", astuple(setup)).fetchone()  # noqa: S608
        return None if row is None else int(row[0])

    def _known_setup(self, setup: Setup) -> int:
        identity = self._setup_id(setup)
        if identity is None:
            raise StoreError(
                f"the store does not know the setup {setup.label}.", "See what there is: nascli lut list"
            )
        return identity


def document_of(text: str) -> dict[str, Any]:
    """A JSON object from the store."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise StoreError(f"damaged facts in the store: {error}.", _AWAY) from error
    if not isinstance(document, dict):
        raise StoreError("damaged facts in the store: not a mapping.", _AWAY)
    return document


def _advice(reason: str) -> str:
    if "full" in reason:
        return "The disk is full; what was committed is kept. Free some space and run the command again."
    if "readonly" in reason or "unable to open" in reason:
        return "Check the permissions of the file and its folder, or name another file with --store."
    if "locked" in reason:
        return "Another process holds the store; run the command again when it is done."
    return "Run the command again; what was committed is kept."
