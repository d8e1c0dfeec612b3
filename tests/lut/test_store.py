import multiprocessing
import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.errors import MissingMeasurementsError, NascliError, StoreError
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut import schema as store_schema
from nascli.spaces.library import identity, mbconv

SETUP = Setup("dev", "rt", "1", "fp32", 16, 1)
OPERATORS = [mbconv((8, 4, 4), 8 * i) for i in (1, 2, 3)]


def filled(path, rounds=6):
    store = Store(path)
    store.add_setup(SETUP, {"model": "m"})
    store.add_operators(OPERATORS)
    for number, op in enumerate(OPERATORS, 1):
        for r in range(rounds):
            assert store.add_sample(
                SETUP, program_key(op.program), Sample(r, np.full(4, number * 1e-3), 1e-3, 5.0)
            )
    return store


def test_samples_come_back_exactly(tmp_path):
    with filled(tmp_path / "s") as store:
        rows = store.samples(SETUP)[program_key(OPERATORS[1].program)]
        assert [s.round for s in rows] == list(range(6))
        assert np.array_equal(rows[0].seconds, np.full(4, 2e-3)) and rows[0].anchor == 1e-3
        assert store.setups() == [(SETUP, {"model": "m"}, 3)]
        label, program = store.operators()[program_key(OPERATORS[0].program)]
        assert program == OPERATORS[0].program and label == OPERATORS[0].label


def test_a_round_is_kept_once(tmp_path):
    with filled(tmp_path / "s") as store:
        again = Sample(0, np.full(4, 9.0), 1.0, 6.0)
        assert store.add_sample(SETUP, program_key(OPERATORS[0].program), again) is False
        assert store.samples(SETUP)[program_key(OPERATORS[0].program)][0].seconds[0] == 1e-3


@pytest.mark.parametrize("seconds", [[], [0.0], [-1.0], [np.nan], [np.inf]])
def test_impossible_times_are_refused(tmp_path, seconds):
    with filled(tmp_path / "s") as store, pytest.raises(StoreError, match="finite and positive"):
        store.add_sample(SETUP, program_key(OPERATORS[0].program), Sample(9, np.array(seconds), 1.0, 0.0))


def test_unknown_setups_and_operators_are_refused(tmp_path):
    with filled(tmp_path / "s") as store:
        other = Setup("dev", "rt", "2", "fp32", 16, 1)
        with pytest.raises(StoreError, match="does not know the setup"):
            store.add_sample(other, program_key(OPERATORS[0].program), Sample(0, np.ones(1), 1.0, 0.0))
        with pytest.raises(StoreError):
            store.add_sample(SETUP, "nobody", Sample(0, np.ones(1), 1.0, 0.0))


def test_foreign_newer_and_damaged_files_are_told_apart(tmp_path):
    foreign = tmp_path / "foreign"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    db.close()
    with pytest.raises(StoreError, match="not a nascli store"):
        Store(foreign)
    newer = tmp_path / "newer"
    filled(newer).close()
    db = sqlite3.connect(newer)
    db.execute(f"PRAGMA user_version = {store_schema.VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="schema version 2; this nascli knows version 1"):
        Store(newer)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"not a database at all" * 500)
    with pytest.raises(StoreError, match="damaged or not a store"):
        Store(garbage)
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(StoreError, match="cannot use the store"):
        Store(folder)


def test_no_permission_to_make_the_folder(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(StoreError, match="cannot make the folder"):
        Store(blocker / "sub" / "s")


def test_a_full_disk_loses_nothing_that_was_committed(tmp_path):
    store = filled(tmp_path / "s")
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    kept = 0
    with pytest.raises(StoreError, match="disk is full"):
        for r in range(6, 500):
            store.add_sample(
                SETUP, program_key(OPERATORS[0].program), Sample(r, np.full(60, 1e-3), 1e-3, 0.0)
            )
            kept += 1
    store.close()
    with Store(tmp_path / "s") as again:
        assert len(again.samples(SETUP)[program_key(OPERATORS[0].program)]) == 6 + kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_flipped_bytes_are_an_error_or_harmless(tmp_path_factory, position, mask):
    path = tmp_path_factory.mktemp("flip") / "s"
    filled(path, rounds=2).close()
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= mask
    path.write_bytes(bytes(data))
    try:
        with Store(path) as store:
            LatencyTable.read(store, SETUP)
            store.setups()
    except NascliError:
        pass


def _write(path, worker, count):
    with Store(path) as store:
        store.add_setup(SETUP, {})
        store.add_operators(OPERATORS)
        for r in range(count):
            key = program_key(OPERATORS[worker % 3].program)
            store.add_sample(SETUP, key, Sample(worker * 1000 + r, np.full(3, 1e-3), 1e-3, 0.0))


def test_several_processes_write_one_store(tmp_path):
    path = tmp_path / "s"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(path, w, 50)) for w in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    with Store(path) as store:
        assert sum(len(rows) for rows in store.samples(SETUP).values()) == 200


def test_tables_look_programs_up_and_name_what_is_missing(tmp_path):
    with filled(tmp_path / "s") as store:
        table = LatencyTable.read(store, SETUP)
        assert table.lookup(OPERATORS[2].program).seconds == pytest.approx(3e-3)
        assert table.lookup(identity((8, 4, 4)).program).kind == "empty"
        unknown = mbconv((8, 4, 4), 8, kernel=7)
        assert table.missing([*OPERATORS, unknown, unknown]) == [unknown]
        with pytest.raises(MissingMeasurementsError) as caught:
            table.require([*OPERATORS, unknown], "nascli profile --space x")
        assert unknown.label in str(caught.value) and "nascli profile --space x" in str(caught.value)
        frame = table.to_pandas()
        assert sorted(frame["seconds"]) == pytest.approx([1e-3, 2e-3, 3e-3])
        assert table.digest == LatencyTable.read(store, SETUP).digest
        slower = LatencyTable(SETUP, {**table.estimates, "more": table.lookup(OPERATORS[0].program)}, {})
        assert slower.digest != table.digest


def test_setups_say_how_they_differ():
    other = Setup("dev", "rt", "1", "fp32", 1, 2)
    assert SETUP.differences(other) == ["batch: 16 against 1", "threads: 1 against 2"]
    with pytest.raises(StoreError, match="batch must be at least 1, got 0"):
        Setup("dev", "rt", "1", "fp32", 0, 1)
