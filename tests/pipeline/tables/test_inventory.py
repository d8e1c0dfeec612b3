import math
from dataclasses import replace

import numpy as np
import pytest
from simulated_devices import DEVICES, add_networks, add_table, truth

from nascli.errors import StoreError
from nascli.execution import Execution
from nascli.lut import Sample, Setup, Store, program_key
from nascli.lut.in_context.carriers import is_auxiliary
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.tables.inventory import (
    check_store,
    existing_store,
    list_tables,
    remove_table,
    show_table,
    table_meant,
)
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.target import TargetSpec

SPEC = TargetSpec(device="alpha", batch=4)


@pytest.fixture
def path(tmp_path, tiny):
    path = tmp_path / "s.sqlite"
    for name in ("alpha", "beta"):
        add_table(path, name, DEVICES[name], space_subjects(tiny, 16))
    return path


def test_every_table_is_listed_with_what_it_has(path, tiny):
    rows = list_tables(path)
    assert [row.setup.device for row in rows] == ["alpha", "beta"]
    models = {program_key(o.program) for o in space_subjects(tiny, 16)}
    assert [row.operators for row in rows] == [len(models), len(models)]
    assert rows[0].to_json() == {**rows[0].setup.to_json(), "operators": rows[0].operators, "facts": {}}


def test_operators_are_shown_slowest_first_without_what_only_measures_context(path, tiny):
    rows = show_table(SPEC, Execution(store=path))
    seconds = [row.alone.seconds for row in rows]
    assert seconds == sorted(seconds, reverse=True) and not any(is_auxiliary(row.operator) for row in rows)
    programs = {
        program_key(operator.program): operator.program
        for operator in tiny.operators()
        if operator.program.output
    }
    assert {row.key for row in rows} >= set(programs)
    for row in rows:
        if row.key in programs:
            assert row.alone.seconds == pytest.approx(truth(programs[row.key], DEVICES["alpha"]))


def test_whole_networks_are_shown_when_they_are_asked_for(path, tiny):
    add_networks(path, "alpha", DEVICES["alpha"], tiny, [tuple([0] * len(tiny.layers))])
    usual = show_table(SPEC, Execution(store=path))
    every = show_table(SPEC, Execution(store=path), networks=True)
    (network,) = {row.key: row for row in every}.keys() - {row.key for row in usual}
    assert next(row for row in every if row.key == network).operator.startswith("network ")


def test_an_imported_figure_of_one_round_has_no_interval_and_a_measured_one_does_not_count(path, tiny):
    setup = Setup("gamma", "simulated", "1", "fp32", 4, 1)
    key = program_key(tiny.operators()[0].program)
    spec, execution = replace(SPEC, device="gamma"), Execution(store=path)
    with Store(path) as store:
        store.add_setup(setup, {})
        store.add_sample(setup, key, Sample(0, np.full(3, 1e-3), 1e-3, 5.0))
    with pytest.raises(StoreError, match="nothing was measured for gamma"):
        show_table(spec, execution)
    remove_table(path, setup)
    with Store(path) as store:
        store.add_setup(setup, {"origin": "imported"})
        store.add_sample(setup, key, Sample(0, np.full(3, 1e-3), 1.0, 5.0))
    (row,) = show_table(spec, execution)
    assert math.isinf(row.alone.high) and not row.has_interval
    document = row.to_json()
    assert document["low"] is document["high"] is None and (document["rounds"], document["kind"]) == (
        1,
        "imported",
    )


def test_an_empty_table_says_what_fills_it(tmp_path):
    with pytest.raises(StoreError, match="nothing was measured for") as caught:
        show_table(TargetSpec(), Execution(store=tmp_path / "s.sqlite"))
    assert caught.value.remedies[0].job == "profile"


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    path = tmp_path / "none.sqlite"
    for work in (list_tables, existing_store, check_store):
        with pytest.raises(StoreError, match="there is no store at") as caught:
            work(path)
        assert caught.value.remedies[0].job == "profile"
    with pytest.raises(StoreError, match="there is no store at"):
        table_meant(SPEC, Execution(store=path))
    assert not path.exists()


def test_a_good_store_has_no_damage_and_an_anchor_of_another_speed_is_found(path):
    assert check_store(path) == []
    with Store(path) as store:
        (setup, _, _), *_ = store.setups()
        key = next(iter(store.samples(setup)))
        store.add_samples(setup, {key: [Sample(r, np.full(3, 1e-3), 1e-2, 5.0) for r in range(3, 40)]})
    (finding,) = (each for each in check_store(path) if "speed varied" in each.what)
    assert (finding.severity, finding.setup) == ("warning", setup.label)


def test_a_table_of_an_older_runtime_is_told(path, tiny):
    assert all_runtimes()["ort-cpu"].missing() is None
    old = Setup("delta", "ort-cpu", "0.1", "fp32", 4, 1)
    with Store(path) as store:
        store.add_setup(old, {})
        key = program_key(tiny.operators()[0].program)
        store.add_samples(old, {key: [Sample(r, np.full(3, 1e-3), 1e-3, 5.0 + r) for r in range(3)]})
    (finding,) = check_store(path)
    assert finding.setup == old.label and finding.what.startswith("stale: ort-cpu is")


def test_a_removed_table_is_gone_and_the_others_stay(path):
    setup = table_meant(SPEC, Execution(store=path))
    (listed,) = (row for row in list_tables(path) if row.setup == setup)
    # Three samples of each operator.
    assert remove_table(path, setup) == 3 * listed.operators
    assert [row.setup.device for row in list_tables(path)] == ["beta"]
    assert remove_table(path, setup) == 0


def test_a_table_that_is_not_there_is_not_meant(path):
    with pytest.raises(StoreError, match="nothing was measured for") as caught:
        table_meant(TargetSpec(batch=4), Execution(store=path))
    assert caught.value.remedies[0].job == "list_tables"
