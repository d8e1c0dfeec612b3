from dataclasses import replace

import numpy as np
import pytest
from simulated_devices import DEVICES, add_table, fill_this_machine

from nascli.costmodel import table_latency
from nascli.costmodel.calibration import MIN_NETWORKS
from nascli.errors import MissingMeasurementsError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.latency_model import (
    calibration_terms,
    find_data_sheet,
    fixed_costs,
    known_calibration,
    profile_first,
)
from nascli.pipeline.measure.measured_networks import networks_to_measure
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.target import TargetSpec
from nascli.spaces import make_space

SPEC = TargetSpec(batch=4)


def table_of(path, space, networks=0, **options):
    rows = networks_to_measure(space, networks, 0) if networks else []
    setup = fill_this_machine(path, DEVICES["alpha"], space, rows, **options)
    with Store(path) as store:
        return LatencyTable.read(store, setup)


def calibration(path, space, table):
    return known_calibration(space, table, table_latency(space, table, ""), Execution(store=path))


def test_a_calibration_needs_a_number_of_networks(tmp_path, tiny):
    few = table_of(tmp_path / "few", tiny, MIN_NETWORKS - 1)
    assert calibration(tmp_path / "few", tiny, few) is None
    enough = table_of(tmp_path / "enough", tiny, MIN_NETWORKS)
    found = calibration(tmp_path / "enough", tiny, enough)
    assert len(found.errors) == MIN_NETWORKS and np.abs(found.errors).max() < 0.05


def test_networks_that_nobody_noted_count_if_label_and_program_say_what_they_are(tmp_path, tiny):
    table = table_of(tmp_path / "s", tiny, 12, noted=False)
    assert len(calibration(tmp_path / "s", tiny, table).errors) == 12
    # A label alone proves nothing.
    others = {key: (label.replace("[0", "[1"), *counts) for key, (label, *counts) in table.labels.items()}
    unknown = replace(table, labels={key: ("a network", *row[1:]) for key, row in others.items()})
    assert calibration(tmp_path / "s", tiny, unknown) is None


def test_networks_measured_at_another_batch_say_nothing(tmp_path, tiny):
    table_of(tmp_path / "s", tiny, 12, batch=8)
    table = table_of(tmp_path / "s", tiny, batch=4)
    assert calibration(tmp_path / "s", tiny, table) is None


def test_the_number_of_branches_is_a_term_of_multi_branch_spaces(tmp_path, tiny):
    names = [term.name for term in calibration_terms(tiny, table_of(tmp_path / "s", tiny))]
    space = make_space("nse-19-mini", resolution=8, width=0.25, branches=2)
    more = [term.name for term in calibration_terms(space, table_of(tmp_path / "m", space))]
    assert len(more) == len(names) + 1 and len(set(more)) == len(more)


def test_blocks_without_a_choice_have_their_costs(tmp_path, tiny):
    table = table_of(tmp_path / "s", tiny)
    costs = fixed_costs(table, tiny)
    layers = {layer.name for layer in tiny.layers}
    assert set(costs) == {block.name for block in tiny.blocks} - layers
    assert all(seconds > 0 for seconds in costs.values())
    # With the choices they are the whole network.
    cost = table_latency(tiny, table, "")
    row = tiny.check([[0] * len(tiny.layers)])
    choices = sum(float(unary[0]) for unary in cost.unary)
    assert sum(costs.values()) + choices == pytest.approx(float(cost(row)[0]))


def test_a_lack_of_measurements_names_what_to_profile(tmp_path):
    def remedy(**subject):
        with (
            pytest.raises(MissingMeasurementsError) as caught,
            profile_first(SPEC, Execution(), **subject),
        ):
            raise MissingMeasurementsError(["op"], 1, "cpu", "profile it")
        (found,) = caught.value.remedies
        return found

    assert remedy(space="s").job == "profile" and remedy(space="s").arguments["space"] == "s"
    assert remedy(network=tmp_path / "a.onnx").arguments["network"] == tmp_path / "a.onnx"
    assert set(remedy().arguments) == {"target", "execution"}


def test_a_data_sheet_stands_in_only_while_there_is_no_table(tmp_path, tiny):
    execution, card = Execution(store=tmp_path / "s"), TargetSpec(device="titanxp", batch=4)
    found = find_data_sheet(card, execution)
    assert found.key == "titanxp" and found.bandwidth == data_sheets()["titanxp"].bandwidth
    assert not execution.store.exists()
    assert find_data_sheet(SPEC, execution) is None
    add_table(execution.store, "p100", DEVICES["alpha"], space_subjects(tiny, 16))
    assert find_data_sheet(card, execution) == found
    add_table(execution.store, "titanxp", DEVICES["alpha"], space_subjects(tiny, 16))
    assert find_data_sheet(card, execution) is None
