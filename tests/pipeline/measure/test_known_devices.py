import pytest
from simulated_devices import DEVICES, add_figures, add_networks, add_table, truth

from nascli.errors import MissingMeasurementsError, StoreError, UnknownNameError
from nascli.execution import Execution
from nascli.lut import Setup, Store
from nascli.pipeline.measure.known_devices import known_costs
from nascli.pipeline.measure.measured_networks import networks_to_measure
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.target import TargetSpec

SPEC = TargetSpec(device="new", batch=4)


@pytest.fixture
def execution(tmp_path, tiny):
    for name in ("alpha", "beta"):
        add_table(tmp_path / "s.sqlite", name, DEVICES[name], space_subjects(tiny, 16))
    return Execution(store=tmp_path / "s.sqlite")


def devices(space, execution, *sources, spec=SPEC):
    return [table.setup.device for table in known_costs(space, spec, execution, sources)]


def test_the_asked_device_itself_is_no_source(execution, tiny):
    asked = TargetSpec(device="alpha", batch=4)
    assert devices(tiny, execution) == ["alpha", "beta"]
    assert devices(tiny, execution, spec=asked) == ["beta"]
    with pytest.raises(StoreError, match="alpha is the new device itself"):
        devices(tiny, execution, "alpha", spec=asked)


def test_tables_of_another_batch_or_precision_do_not_count(execution, tiny):
    with pytest.raises(StoreError, match="at batch 8, fp32; found: alpha, simulated 1") as caught:
        devices(tiny, execution, spec=TargetSpec(device="new", batch=8))
    assert caught.value.remedies[0].arguments == {"batch": None, "precision": None}
    with pytest.raises(StoreError, match="no table of beta"):
        devices(tiny, execution, "beta", spec=TargetSpec(device="new", batch=4, precision="fp16"))


def test_of_a_runtime_s_versions_the_newest_counts_and_other_threads_are_another_table(execution, tiny):
    models = [model for model in space_subjects(tiny, 16) if model.program.output]
    newer = Setup("alpha", "simulated", "2", "fp32", 4, 1)
    threads = Setup("alpha", "simulated", "1", "fp32", 4, 8)
    for setup in (newer, threads):
        add_figures(execution.store, setup, DEVICES["gamma"], models)
    found = [table.setup for table in known_costs(tiny, SPEC, execution, ["alpha"])]
    assert sorted(found) == sorted([newer, threads])


def test_an_incomplete_table_is_left_out_unless_it_was_named(execution, tiny):
    # The first operators only.
    add_table(execution.store, "gamma", DEVICES["gamma"], space_subjects(tiny, 16)[:5])
    assert devices(tiny, execution) == ["alpha", "beta"]
    with pytest.raises(MissingMeasurementsError) as caught:
        devices(tiny, execution, "gamma")
    assert caught.value.remedies[0].job == "profile"


def test_networks_of_a_device_calibrate_its_table(execution, tiny):
    rows = networks_to_measure(tiny, 12, 0)
    add_networks(execution.store, "beta", DEVICES["beta"], tiny, rows)
    kinds = {table.setup.device: table.kind for table in known_costs(tiny, SPEC, execution)}
    assert kinds == {"alpha": "measured", "beta": "calibrated"}


def test_an_imported_table_says_so_and_is_not_calibrated(execution, tiny):
    rows = networks_to_measure(tiny, 12, 0)
    setup = add_networks(execution.store, "beta", DEVICES["beta"], tiny, rows)
    with Store(execution.store) as store:
        samples, operators = store.samples(setup), store.operators(setup)
        store.remove_setup(setup)
        store.add_programs((label, program) for label, program in operators.values())
        store.add_setup(setup, {"origin": "imported"})
        store.add_samples(setup, samples)
    (table,) = known_costs(tiny, SPEC, execution, ["beta"])
    # Figures of another tool are of operators alone, and are added as they are.
    alone = [
        sum(truth(o.program, DEVICES["beta"]) for o in tiny.network(row).operators if o.program.output)
        for row in rows
    ]
    assert table.kind == "imported" and table.cost(tiny.check(rows)) == pytest.approx(alone)


def test_what_the_store_does_not_have_is_told(tmp_path, execution, tiny):
    with pytest.raises(UnknownNameError, match=r"unknown device of the store 'toaster'.*alpha, beta"):
        devices(tiny, execution, "toaster")
    with pytest.raises(StoreError, match="there is no store at"):
        devices(tiny, Execution(store=tmp_path / "none.sqlite"))
    assert not (tmp_path / "none.sqlite").exists()
