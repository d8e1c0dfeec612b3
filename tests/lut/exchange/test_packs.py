import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nascli.errors import NascliError, StoreError
from nascli.lut import Sample, Setup, Store, program_key
from nascli.lut.audit import audit
from nascli.lut.exchange.diff import compare_packs
from nascli.lut.exchange.packs import Pack, combine_packs, import_pack, read_pack, read_store, write_pack
from nascli.lut.store.columns import SampleColumns
from nascli.spaces.operators.inverted_residual import mbconv

SETUP = Setup("dev", "rt", "1", "fp32", 16, 1)
OPERATORS = [mbconv((8, 4, 4), 8 * i) for i in (1, 2, 3)]


def pack_of(setup=SETUP, rounds=range(6), factor=1.0, operators=OPERATORS, noise=0.0, day=5.0):
    rng = np.random.default_rng(0)
    samples = {
        program_key(op.program): [
            Sample(r, np.full(4, factor * i * 1e-3 * (1 + noise * rng.standard_normal())), 1e-3, day + r)
            for r in rounds
        ]
        for i, op in enumerate(operators, 1)
    }
    known = {program_key(op.program): (op.label, op.program.canonical) for op in operators}
    return Pack(setup, {"model": "m"}, known, SampleColumns.of(samples))


def same(a, b):
    assert (a.setup, a.facts, a.operators) == (b.setup, b.facts, b.operators)
    assert set(a.samples) == set(b.samples)
    for key in a.samples:
        for x, y in zip(a.samples[key], b.samples[key], strict=True):
            assert (x.round, x.anchor, x.taken_at) == (y.round, y.anchor, y.taken_at)
            assert np.array_equal(x.seconds, y.seconds)


def test_a_pack_comes_back_as_it_was(tmp_path):
    write_pack(pack_of(noise=0.1), tmp_path / "p.parquet")
    same(read_pack(tmp_path / "p.parquet"), pack_of(noise=0.1))
    assert pq.read_table(tmp_path / "p.parquet").num_rows == 18


def test_from_store_to_store_and_nothing_twice(tmp_path):
    with Store(tmp_path / "a") as store:
        assert import_pack(pack_of(), store) == 18
        assert import_pack(pack_of(), store) == 0
        assert import_pack(pack_of(rounds=range(4, 9)), store) == 9
        full = read_store(store, SETUP)
    write_pack(full, tmp_path / "p.parquet")
    with Store(tmp_path / "b") as store:
        import_pack(read_pack(tmp_path / "p.parquet"), store)
        same(read_store(store, SETUP), full)
        with pytest.raises(StoreError, match="nothing was measured"):
            read_store(store, Setup("other", "rt", "1", "fp32", 16, 1))


def test_every_flipped_byte_is_found_or_harmless(tmp_path):
    path = tmp_path / "p.parquet"
    original = pack_of(rounds=range(3), operators=OPERATORS[:1])
    write_pack(original, path)
    data = path.read_bytes()
    found = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x5A
        path.write_bytes(bytes(damaged))
        try:
            same(read_pack(path), original)
        except StoreError:
            found += 1
    assert found > len(data) / 3


def test_other_files_and_newer_packs_are_refused(tmp_path):
    path = tmp_path / "p.parquet"
    for content in (b"", b"PAR1", b"nothing" * 100):
        path.write_bytes(content)
        with pytest.raises(StoreError, match="damaged or not a pack"):
            read_pack(path)
    with pytest.raises(StoreError, match="cannot read"):
        read_pack(tmp_path / "none")
    write_pack(pack_of(), path)
    table = pq.read_table(path)
    about = table.schema.metadata[b"nascli"].decode()
    pq.write_table(
        table.replace_schema_metadata({"nascli": about.replace('"version": 3', '"version": 9')}), path
    )
    with pytest.raises(StoreError, match="version 9; this nascli reads 1 to 3"):
        read_pack(path)
    pq.write_table(
        table.replace_schema_metadata({"nascli": about.replace('"batch": 16', '"batch": 1')}), path
    )
    with pytest.raises(StoreError, match="do not match its digest"):
        read_pack(path)


def test_merging_refuses_what_differs():
    merged = combine_packs([pack_of(rounds=range(3)), pack_of(rounds=range(2, 6))])
    assert merged.count == 18
    other = pack_of(Setup("dev", "rt", "2", "fp32", 1, 1))
    with pytest.raises(StoreError, match=r"runtime_version: 1 against 2; batch: 16 against 1"):
        combine_packs([pack_of(), other])
    with pytest.raises(StoreError, match="nothing to merge"):
        combine_packs([])


def test_rounds_of_two_stores_do_not_push_each_other_out(tmp_path):
    """Every store counts its rounds from 0."""
    monday, tuesday = pack_of(), pack_of(factor=2.0, day=90_000.0)
    merged = combine_packs([monday, tuesday])
    assert merged.count == 2 * monday.count
    for key, rows in merged.samples.items():
        assert [s.round for s in rows] == list(range(12))
        assert {float(s.seconds[0]) for s in rows} == {
            float(pack.samples[key][0].seconds[0]) for pack in (monday, tuesday)
        }
    assert combine_packs([merged, tuesday, monday]).count == merged.count
    grown = pack_of(factor=2.0, day=90_000.0, rounds=range(8))
    with Store(tmp_path / "s") as store:
        assert import_pack(monday, store) == import_pack(tuesday, store) == 18
        assert import_pack(monday, store) == import_pack(tuesday, store) == import_pack(merged, store) == 0
        # Two rounds more since then: only they are new, though others have taken their numbers.
        assert import_pack(grown, store) == 6 and import_pack(grown, store) == 0
        again = read_store(store, SETUP)
    assert again.count == 42
    assert combine_packs([again, grown, monday]).count == 42


def test_figures_without_a_time_may_repeat_themselves():
    def imported(rounds):
        samples = {program_key(OPERATORS[0].program): [Sample(r, np.array([2e-3]), 1.0, 0.0) for r in rounds]}
        known = {program_key(OPERATORS[0].program): (OPERATORS[0].label, OPERATORS[0].program.canonical)}
        return Pack(SETUP, {}, known, SampleColumns.of(samples))

    assert combine_packs([imported(range(3)), imported(range(5))]).count == 5


def test_comparison_by_hand():
    second = pack_of(Setup("dev", "rt", "2", "fp32", 16, 1), factor=1.5, operators=OPERATORS[:2])
    comparison = compare_packs(pack_of(), second)
    assert comparison.setup == ["runtime_version: 1 against 2"]
    assert comparison.median_ratio == pytest.approx(1.5) and all(row.differs for row in comparison.rows)
    assert comparison.only_first == [OPERATORS[2].label] and comparison.only_second == []
    unchanged = compare_packs(pack_of(noise=0.01), pack_of(noise=0.01))
    assert not any(row.differs for row in unchanged.rows)
    with pytest.raises(StoreError, match="no operator in common"):
        compare_packs(pack_of(operators=OPERATORS[:1]), pack_of(operators=[mbconv((8, 4, 4), 8, kernel=7)]))


def test_an_audit_finds_what_is_wrong(tmp_path):
    path = tmp_path / "s"
    with Store(path) as store:
        import_pack(pack_of(rounds=range(8)), store)
        assert audit(store, {"rt": "1"}) == []
        (stale,) = audit(store, {"rt": "2"})
        assert stale.severity == "warning" and "rt is 2 now" in stale.what
        odd = pack_of()
        rows = [Sample(r, np.full(4, 1e-3 * (1 + r % 2)), 1e-3, 0.0) for r in range(20, 28)]
        mixed = {**odd.samples, program_key(OPERATORS[0].program): rows}
        import_pack(replace(odd, columns=SampleColumns.of(mixed)), store)
        assert any("two halves differ" in f.what for f in audit(store, {}))
    db = sqlite3.connect(path)
    db.execute("UPDATE operators SET program = replace(program, '8', '16')")
    db.commit()
    db.close()
    with Store(path) as store:
        try:
            findings = audit(store, {})
        except NascliError:
            return
        assert any(f.severity == "damage" for f in findings)


def test_removal(tmp_path):
    with Store(tmp_path / "s") as store:
        import_pack(pack_of(), store)
        assert store.remove_setup(SETUP) == 18
        assert store.setups() == [] and store.integrity() == []


def test_a_pack_of_version_2_is_read(tmp_path):
    pack = read_pack(Path(__file__).parents[2] / "data" / "lut" / "pack_v2.parquet")
    assert pack.setup == Setup("cpu-golden", "ort-cpu", "1.0", "fp32", 16, 1) and pack.setup.mode == ""
    assert pack.count == 18 and not any(s.throttled for rows in pack.samples.values() for s in rows)
    write_pack(pack, tmp_path / "new.parquet")
    assert read_pack(tmp_path / "new.parquet").setup == pack.setup


def test_mode_and_throttling_survive_a_pack(tmp_path):
    pack = pack_of()
    key, rows = next(iter(pack.samples.items()))
    changed = replace(
        pack,
        setup=replace(pack.setup, mode="cuda graph"),
        columns=SampleColumns.of(
            {**pack.samples, key: [replace(rows[0], throttled=True, waited=0.5), *rows[1:]]}
        ),
    )
    write_pack(changed, tmp_path / "p.parquet")
    found = read_pack(tmp_path / "p.parquet")
    assert found.setup.mode == "cuda graph" and found.samples[key][0].throttled
    assert not found.samples[key][1].throttled and found.samples[key][1].waited is None
    assert found.samples[key][0].waited == 0.5
