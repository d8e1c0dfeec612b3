import pytest
from simulated_devices import DEVICES, add_networks, add_table, fill_this_machine, truth

from nascli.costmodel import counted
from nascli.errors import UnknownNameError
from nascli.execution import Execution
from nascli.pipeline.measure import measured_networks as module
from nascli.pipeline.measure.measured_networks import networks_on_device, networks_to_measure
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent


@pytest.fixture
def execution(tmp_path, monkeypatch):
    def nothing_is_measured(*args, **options):
        raise AssertionError("something was measured")

    monkeypatch.setattr(module, "measure_networks", nothing_is_measured)
    return Execution(store=tmp_path / "s.sqlite")


def known(space, execution, device="new", *, networks=0, **options):
    spec = TargetSpec(device=device, batch=4)
    return networks_on_device(space, spec, execution, networks=networks, seed=0, progress=Silent(), **options)


def test_networks_that_were_noted_are_known_with_their_latencies(execution, tiny):
    rows = networks_to_measure(tiny, 5, 0)
    setup = add_networks(execution.store, "new", DEVICES["beta"], tiny, rows)
    found = known(tiny, execution)
    assert found.setup == setup and not found.complete_table
    exact = {row: truth(tiny.network(row).program, DEVICES["beta"]) for row in rows}
    assert found.seconds == pytest.approx(exact)


def test_networks_that_were_not_noted_are_known_by_label_and_program(execution, tiny):
    rows = networks_to_measure(tiny, 3, 0)
    add_networks(execution.store, "new", DEVICES["beta"], tiny, rows, noted=False)
    assert set(known(tiny, execution).seconds) == set(rows)


def test_a_table_of_the_whole_space_is_complete(execution, tiny):
    add_table(execution.store, "new", DEVICES["beta"], space_subjects(tiny, 16))
    found = known(tiny, execution)
    assert found.complete_table and found.seconds == {}


def test_this_machine_measures_no_more_than_what_is_missing(execution, tiny, monkeypatch):
    rows = networks_to_measure(tiny, 4, 0)
    fill_this_machine(execution.store, DEVICES["alpha"], tiny, rows)
    assert set(known(tiny, execution, "cpu", networks=4).seconds) == set(rows)
    asked = []

    def measure(networks, *args, members, **options):
        asked.extend(members[1])
        fill_this_machine(execution.store, DEVICES["alpha"], tiny, members[1])

    monkeypatch.setattr(module, "measure_networks", measure)
    found = known(tiny, execution, "cpu", networks=6)
    assert len(asked) == 2 and not set(asked) & set(rows) and set(found.seconds) == {*rows, *asked}


def test_a_known_card_that_is_not_here_has_nothing_and_an_unknown_device_is_told(execution, tiny):
    found = known(tiny, execution, "titanxp")
    assert (found.setup, found.seconds, found.complete_table) == (None, {}, False)
    with pytest.raises(UnknownNameError, match="new") as caught:
        known(tiny, execution, "new")
    assert caught.value.remedies[0].arguments == {"measurements": None}


def test_networks_to_measure_are_the_same_for_a_seed_and_leave_out_what_is_known(tiny):
    rows = networks_to_measure(tiny, 8, 0)
    assert rows == networks_to_measure(tiny, 8, 0) != networks_to_measure(tiny, 8, 1)
    assert len(set(rows)) == 8 and not set(rows) & set(networks_to_measure(tiny, 8, 0, rows))
    macs = counted(tiny, "macs")(tiny.check(rows))
    cost = counted(tiny, "macs")
    # They cover more than half of what the space has.
    assert macs.max() - macs.min() > (cost.maximum - cost.minimum) / 2
