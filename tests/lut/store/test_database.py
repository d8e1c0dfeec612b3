import json
import sqlite3

import pytest

from nascli.errors import StoreError
from nascli.lut import Setup
from nascli.lut.store import schema
from nascli.lut.store.database import Database, document_of

SETUP = Setup("dev", "rt", "1", "fp32", 16, 1)
INSERT = "INSERT INTO timing_caches VALUES ('d', 'r', ?, x'00')"


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "new" / "s")
    yield database
    database.close()


def rows(database):
    return database.connection.execute("SELECT count(*) FROM timing_caches").fetchone()[0]


def test_a_new_file_has_the_newest_schema_and_waits_for_no_reader(database):
    assert database.path.is_file() and database.integrity() == []
    pragma = lambda name: database.connection.execute(f"PRAGMA {name}").fetchone()[0]  # noqa: E731
    assert (pragma("user_version"), pragma("application_id")) == (schema.VERSION, schema.APPLICATION_ID)
    assert (pragma("journal_mode"), pragma("foreign_keys")) == ("wal", 1)


def test_a_transaction_is_committed_as_a_whole_or_not_at_all(database):
    def insert(fails):
        with database.transaction():
            for version in ("1", "2"):
                database.connection.execute(INSERT, (version,))
            if fails:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        insert(fails=True)
    assert rows(database) == 0 and not database.connection.in_transaction
    insert(fails=False)
    other = Database(database.path)
    assert rows(other) == 2
    other.close()


def test_errors_of_sqlite_become_errors_of_the_store(database):
    with pytest.raises(StoreError, match="is damaged: no such table: absent"), database.reading():
        database.connection.execute("SELECT * FROM absent")
    with (
        pytest.raises(StoreError, match="is damaged: could not convert") as caught,
        database.reading_numbers(),
    ):
        float("x")
    assert str(database.path) in caught.value.message and "Move the file away" in caught.value.hint
    with pytest.raises(ValueError, match="could not convert"), database.reading():
        float("x")


def test_another_process_that_holds_the_file_is_named_as_the_cause(database):
    other = sqlite3.connect(database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    database.connection.execute("PRAGMA busy_timeout = 10")
    with pytest.raises(StoreError, match="database is locked") as caught, database.transaction():
        pass
    assert "Another process holds the store" in caught.value.hint
    other.close()


def test_references_are_checked_but_where_the_caller_has_checked_them(database):
    insert = "INSERT INTO notes VALUES (99, 'nobody', '{}')"
    with pytest.raises(StoreError, match="FOREIGN KEY"), database.transaction():
        database.connection.execute(insert)
    with database.unchecked_references(), database.transaction():
        database.connection.execute(insert)
    assert database.integrity() == ["2 rows refer to nothing"]
    with pytest.raises(sqlite3.IntegrityError):
        database.connection.execute("INSERT INTO notes VALUES (98, 'nobody', '{}')")


def test_setups_have_numbers(database):
    assert database.setup_id(SETUP) is None
    with pytest.raises(StoreError, match="does not know the setup dev, rt 1"):
        database.require_setup(SETUP)


@pytest.mark.parametrize("text", ["{", "[]", "1"])
def test_a_document_is_a_json_object(text):
    with pytest.raises(StoreError, match="damaged facts in the store"):
        document_of(text)
    assert document_of(json.dumps({"a": 1})) == {"a": 1}
