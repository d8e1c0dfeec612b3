"""The store's SQLite file: opening, upgrading, transactions, and errors in the user's terms."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from nascli.errors import Remedy, StoreError
from nascli.lut.keys import Setup
from nascli.lut.store import schema

_BUSY_SECONDS = 30.0
_REPLACE_HINT = "Move the file away to start a new one, or name another."
_ANOTHER_STORE = Remedy(arguments={"store": None})


class Database:
    """One SQLite file with the store's schema. One instance per thread.

    Args:
        path: The file; it is made with its folder if it does not exist, and upgraded if it is older.

    Attributes:
        path: The file.
        connection: The open connection. Statements run inside `reading`, `reading_numbers`, or `transaction`, which
            turn the errors of SQLite into StoreError.

    Raises:
        StoreError: The file is not a store, is damaged, was written by a newer nascli, or cannot be accessed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder {path.parent}: {error.strerror}") from error
        with self.reading():
            self.connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            try:
                self._prepare()
            except BaseException:
                self.connection.close()
                raise

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of SQLite and of the file system into StoreError, with advice."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error) or "already exists" in str(error):
                raise self.damage(str(error)) from error
            raise _unusable(self.path, str(error), str(error)) from error
        except OSError as error:
            raise _unusable(self.path, str(error.strerror), "readonly") from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise StoreError(
                f"the store {self.path} is damaged or not a store: {error}.", _REPLACE_HINT, _ANOTHER_STORE
            ) from error

    @contextmanager
    def reading_numbers(self) -> Iterator[None]:
        """Do what `reading` does, and report values that cannot be converted to numbers as damage."""
        with self.reading():
            try:
                yield
            except (TypeError, ValueError, OverflowError) as error:
                raise self.damage(str(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all statements of the block together, or none of them if it raises."""
        with self.reading():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def unchecked_references(self) -> Iterator[None]:
        """Let SQLite not check references between tables.

        It belongs around a transaction that looks up once what its rows refer to, instead of once for each row.
        """
        self.connection.execute("PRAGMA foreign_keys = OFF")
        try:
            yield
        finally:
            self.connection.execute("PRAGMA foreign_keys = ON")

    def damage(self, what: str) -> StoreError:
        """Return the error that says what is damaged in the file."""
        return StoreError(f"the store {self.path} is damaged: {what}.", _REPLACE_HINT, _ANOTHER_STORE)

    def integrity(self) -> list[str]:
        """Return the problems that SQLite finds in the file; empty if there are none."""
        with self.reading():
            rows = [str(row[0]) for row in self.connection.execute("PRAGMA integrity_check").fetchall()]
            dangling = self.connection.execute("PRAGMA foreign_key_check").fetchall()
        problems = [row for row in rows if row != "ok"]
        return problems + ([f"{len(dangling)} rows refer to nothing"] if dangling else [])

    def setup_id(self, setup: Setup) -> int | None:
        """Return the number of a setup, to be used inside `reading`; None if the store does not know it."""
        where = " AND ".join(f"{field.name} = ?" for field in fields(Setup))
        row = self.connection.execute(
            f"SELECT id FROM setups WHERE {where}",  # noqa: S608
            astuple(setup),
        ).fetchone()
        return None if row is None else int(row[0])

    def require_setup(self, setup: Setup) -> int:
        """Return the number of a setup, to be used inside `transaction`.

        Raises:
            StoreError: The store does not know the setup.
        """
        identity = self.setup_id(setup)
        if identity is None:
            raise StoreError(
                f"the store does not know the setup {setup.label}.",
                "See what there is.",
                Remedy(job="list_tables"),
            )
        return identity

    def _prepare(self) -> None:
        # One transaction, so that the three agree while another process makes the store.
        self.connection.execute("BEGIN")
        (objects,) = self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = self.connection.execute("PRAGMA application_id").fetchone()
        (version,) = self.connection.execute("PRAGMA user_version").fetchone()
        self.connection.execute("COMMIT")
        if application != schema.APPLICATION_ID and (application or version or objects):
            raise StoreError(
                f"{self.path} is an SQLite file, but not a nascli store.",
                "Set NASCLI_HOME, or name another file.",
                _ANOTHER_STORE,
            )
        if version > schema.VERSION:
            raise StoreError(
                f"{self.path} has schema version {version}; this nascli knows version {schema.VERSION}.",
                "Upgrade nascli: pip install --upgrade nascli",
            )
        self.connection.execute("PRAGMA synchronous = NORMAL")
        if version < schema.VERSION:
            # SQLite does not wait for other processes when it changes the journal's mode, so they take turns.
            with FileLock(self.path.with_name(f".{self.path.name}.new")):
                self.connection.execute("PRAGMA journal_mode = WAL")
                self._upgrade()
        # Switched on last: while an upgrade replaces a table, rows of others refer to one that does not exist.
        self.connection.execute("PRAGMA foreign_keys = ON")

    def _upgrade(self) -> None:
        """Bring the file to the newest schema in one transaction: all of it, or nothing."""
        with self.transaction():
            # Another process may have done so while this one waited for the lock.
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            for step in range(version + 1, schema.VERSION + 1):
                for statement in schema.statements(step):
                    self.connection.execute(statement)
            self.connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
            self.connection.execute(f"PRAGMA user_version = {max(version, schema.VERSION)}")


def document_of(text: str) -> dict[str, Any]:
    """Parse a JSON object of the store.

    Raises:
        StoreError: The text is not a JSON object.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise StoreError(f"damaged facts in the store: {error}.", _REPLACE_HINT, _ANOTHER_STORE) from error
    if not isinstance(document, dict):
        raise StoreError("damaged facts in the store: not a mapping.", _REPLACE_HINT, _ANOTHER_STORE)
    return document


def _unusable(path: Path, what: str, reason: str) -> StoreError:
    """Return the error of a store that cannot be used now, with advice that depends on SQLite's reason."""
    message = f"cannot use the store {path}: {what}."
    if "full" in reason:
        hint = "The disk is full; what was committed is kept. Free some space and run the command again."
    elif "readonly" in reason or "unable to open" in reason:
        hint = "Check the permissions of the file and its folder, or name another file."
        return StoreError(message, hint, _ANOTHER_STORE)
    elif "locked" in reason:
        hint = "Another process holds the store; run the command again when it is done."
    else:
        hint = "Run the command again; what was committed is kept."
    return StoreError(message, hint)
