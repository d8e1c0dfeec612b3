import multiprocessing
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.errors import MissingMeasurementsError, NascliError, StoreError
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.audit import audit
from nascli.lut.in_context.carriers import require_context
from nascli.lut.store import schema as store_schema
from nascli.lut.store.visits import RoundConditions
from nascli.spaces.blocks import Placement
from nascli.spaces.operators.basic import conv_block, identity
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.testing.stores import StoreContract

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


class TestStore(StoreContract):
    def open(self, path):
        return Store(path)


@pytest.mark.parametrize("change", ["generation = x'00'", "anchor = 'x'", "taken_at = 'x'"])
def test_figures_that_are_no_numbers_are_damage(tmp_path, change):
    filled(tmp_path / "s").close()
    with sqlite3.connect(tmp_path / "s") as db:
        # As a flipped byte may leave it: STRICT is no longer said of the table.
        db.execute("PRAGMA writable_schema = ON")
        db.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'STRICT, WITHOUT', 'WITHOUT') WHERE name = 'samples'"
        )
    with sqlite3.connect(tmp_path / "s") as db:
        db.execute(f"UPDATE samples SET {change} WHERE round = 0")
    with Store(tmp_path / "s") as store, pytest.raises(StoreError, match="is damaged"):
        store.bursts(SETUP)
        store.columns(SETUP)


def test_references_are_checked_again_after_many_rows(tmp_path):
    with filled(tmp_path / "s") as store, pytest.raises(sqlite3.IntegrityError):
        store._database.connection.execute(
            "INSERT INTO samples (setup, operator, round, anchor, seconds, taken_at) VALUES (99, 'x', 0, 1.0, x'00', 0.0)"
        )


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
    with pytest.raises(StoreError, match="schema version 4; this nascli knows version 3"):
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
    (pages,) = store._database.connection.execute("PRAGMA page_count").fetchone()
    store._database.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
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
            require_context(table, [Placement(unknown, first=False, last=False)], "nascli profile --space x")
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


def test_a_store_of_version_1_is_upgraded_and_keeps_its_figures(tmp_path):
    path = tmp_path / "old.sqlite"
    path.write_bytes((Path(__file__).parents[2] / "data" / "lut" / "store_v1.sqlite").read_bytes())
    setup = Setup("cpu-example-6-1-1", "ort-cpu", "1.18.0", "fp32", 16, 1)
    for _ in range(2):
        with Store(path) as store:
            table = LatencyTable.read(store, setup)
            # As the version that wrote the file derived them.
            first = table.lookup(conv_block((3, 16, 16), 8, stride=2).program)
            second = table.lookup(mbconv((8, 8, 8), 8, expand=3).program)
            assert first.seconds == pytest.approx(0.0010018999559598958, rel=1e-12)
            assert second.seconds == pytest.approx(0.0020053791201997627, rel=1e-12)
            assert (first.rounds, first.kind) == (6, "measured")
            assert {s.generation for rows in store.samples(setup).values() for s in rows} == {0}
            assert store.visits(setup) == []
            assert store.integrity() == []
    assert sqlite3.connect(path).execute("PRAGMA user_version").fetchone() == (3,)


def test_a_store_of_version_2_is_upgraded_and_keeps_all(tmp_path):
    path = tmp_path / "old.sqlite"
    path.write_bytes((Path(__file__).parents[2] / "data" / "lut" / "store_v2.sqlite").read_bytes())
    setup = Setup("cpu-golden", "ort-cpu", "1.0", "fp32", 16, 1)
    graph = replace(setup, mode="cuda graph")
    with Store(path) as store:
        history = store.history(setup)
        assert [len(rows) for rows in history.values()] == [6, 6, 6]
        assert not any(sample.throttled for rows in history.values() for sample in rows)
        assert store.visits(setup)[0].rounds == (RoundConditions(1.0, 2.0, 3, 0.01, None, 0.5),)
        assert list(store.networks("space").values()) == [(1, 2)]
        # The mode tells setups apart, and rows still refer to their own.
        store.add_setup(graph, {})
        key = next(iter(history))
        store.add_sample(graph, key, Sample(0, np.full(3, 1e-3), 1e-3, 1.0, throttled=True))
        assert store.history(graph)[key][0].throttled and len(store.history(setup)[key]) == 6
        assert store.integrity() == []
        with pytest.raises(StoreError):
            store.add_sample(setup, "nobody", Sample(0, np.full(3, 1e-3), 1e-3, 1.0))


def test_notes_and_timing_caches_are_kept(tmp_path):
    with filled(tmp_path / "s") as store:
        key = program_key(OPERATORS[0].program)
        store.add_notes(SETUP, key, {"layers": ["a + b"]})
        store.add_notes(SETUP, key, {"layers": ["a", "b"]})
        assert store.notes(SETUP) == {key: {"layers": ["a", "b"]}}
        assert store.timing_cache(SETUP) == b""
        store.keep_timing_cache(SETUP, b"one")
        store.keep_timing_cache(SETUP, b"two")
        # Kernels do not depend on batch or threads of the setup, only on device and version.
        assert store.timing_cache(replace(SETUP, batch=1)) == b"two"
        assert store.timing_cache(replace(SETUP, runtime_version="9")) == b""


def test_an_upgrade_that_is_cut_off_leaves_the_old_version(tmp_path, monkeypatch):
    path = tmp_path / "old.sqlite"
    path.write_bytes((Path(__file__).parents[2] / "data" / "lut" / "store_v1.sqlite").read_bytes())
    broken = dict(store_schema.STEPS)
    broken[2] += "; CREATE TABLE this is no statement;"
    monkeypatch.setattr(store_schema, "STEPS", broken)
    with pytest.raises(StoreError):
        Store(path)
    monkeypatch.undo()
    setup = Setup("cpu-example-6-1-1", "ort-cpu", "1.18.0", "fp32", 16, 1)
    with Store(path) as store:
        assert len(store.samples(setup)) == 2


def test_a_new_generation_replaces_the_figure_and_keeps_the_history(tmp_path):
    with filled(tmp_path / "s") as store:
        key = program_key(OPERATORS[0].program)
        for r in range(6, 12):
            store.add_sample(SETUP, key, Sample(r, np.full(4, 3e-3), 1e-3, 9.0, 1, 0.002))
        assert {s.generation for s in store.samples(SETUP)[key]} == {1}
        assert len(store.history(SETUP)[key]) == 12
        assert store.samples(SETUP)[key][0].waited == 0.002
        assert LatencyTable.read(store, SETUP).estimates[key].seconds == pytest.approx(3e-3)
        findings = [f.what for f in audit(store, {})]
        assert any("measured anew it differs by +200.0%" in what for what in findings)


def test_visits_and_rounds_come_back_and_go_with_their_table(tmp_path):
    with filled(tmp_path / "s") as store:
        visit = store.begin_visit(SETUP, 1.0, {"load": [0.1]})
        store.add_round(visit, 0, RoundConditions(1.0, 2.0, 3, 0.01, None, 0.5))
        assert store.visits(SETUP)[0].ended_at is None
        store.end_visit(visit, 4.0, {"load": [0.2]})
        (found,) = store.visits(SETUP)
        assert (found.began_at, found.ended_at, found.before, found.after) == (
            1.0, 4.0, {"load": [0.1]}, {"load": [0.2]},
        )  # fmt: skip
        assert found.rounds == (RoundConditions(1.0, 2.0, 3, 0.01, None, 0.5),)
        store.remove_setup(SETUP)
        assert store.visits(SETUP) == [] and store.integrity() == []


def test_a_clock_that_is_set_back_loses_nothing_and_one_ahead_is_told(tmp_path):
    with filled(tmp_path / "s") as store:
        key = program_key(OPERATORS[0].program)
        store.add_sample(SETUP, key, Sample(6, np.full(4, 1e-3), 1e-3, -1e6))
        store.add_sample(SETUP, key, Sample(7, np.full(4, 1e-3), 1e-3, 4e9))
        assert [s.round for s in store.samples(SETUP)[key]] == list(range(8))
        assert any("the clock was changed" in f.what for f in audit(store, {}))


def test_power_loss_between_two_writes_leaves_a_prefix_of_what_was_committed(tmp_path):
    """The log cut anywhere: the store opens, and holds the first so many commits, none damaged."""
    path = tmp_path / "s"
    with filled(path, rounds=1) as store:
        store._database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        store._database.connection.execute("PRAGMA wal_autocheckpoint = 0")
        key = program_key(OPERATORS[0].program)
        for r in range(1, 9):
            store.add_sample(SETUP, key, Sample(r, np.full(4, r * 1e-3), 1e-3, 5.0))
        main, log = path.read_bytes(), path.with_name("s-wal").read_bytes()
    seen = set()
    for number, cut in enumerate(range(0, len(log) + 1, 1009)):
        copy = tmp_path / f"cut{number}"
        copy.write_bytes(main)
        copy.with_name(f"cut{number}-wal").write_bytes(log[:cut])
        with Store(copy) as store:
            rounds = [s.round for s in store.samples(SETUP)[key]]
            assert rounds == list(range(len(rounds))) and store.integrity() == []
            seen.add(len(rounds))
    assert min(seen) == 1 and len(seen) > 4


# Long enough for thousands of interleaved transactions.
SECONDS = 12.0


def _write_for(path, writer, seconds, counts):
    key = program_key(OPERATORS[writer % len(OPERATORS)].program)
    number, end = 0, time.monotonic() + seconds
    with Store(path) as store:
        store.add_setup(SETUP, {"model": "m"})
        store.add_operators(OPERATORS)
        while time.monotonic() < end:
            # Two writers share an operator, so their rounds interleave.
            assert store.add_sample(SETUP, key, Sample(number * 4 + writer, np.full(4, 1e-3), 1e-3, 5.0))
            number += 1
    counts.put((writer, number))


@pytest.mark.slow
def test_four_processes_write_one_store(tmp_path):
    context = multiprocessing.get_context("spawn")
    counts = context.Queue()
    writers = [
        context.Process(target=_write_for, args=(tmp_path / "s", n, SECONDS, counts)) for n in range(4)
    ]
    for writer in writers:
        writer.start()
    written = dict(counts.get(timeout=120) for _ in writers)
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    with Store(tmp_path / "s") as store:
        rounds = [s.round for rows in store.samples(SETUP).values() for s in rows]
        assert store.integrity() == []
    wanted = sorted(i * 4 + writer for writer, count in written.items() for i in range(count))
    assert sorted(rounds) == wanted and len(set(rounds)) == len(rounds)
    assert min(written.values()) > 100


def test_a_setup_of_nothings_is_refused():
    with pytest.raises(StoreError, match="batch must be at least 1, got None"):
        Setup("d", "r", "1", "fp32", None, 1)
    with pytest.raises(StoreError, match="device of a setup must be a text, got None"):
        Setup(None, "r", "1", "fp32", 1, 1)
