import numpy as np
import pytest
from simulated_devices import DEVICES, add_figures, fill_this_machine, truth

from nascli.errors import MissingMeasurementsError, StoreError
from nascli.execution import Execution
from nascli.lut import Store
from nascli.pipeline.measure.measured_networks import networks_to_measure
from nascli.pipeline.measure.prediction import DataSheetSetup, predict_network
from nascli.pipeline.measure.subjects import subjects_of
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.target import TargetSpec
from nascli.spaces import Architecture, make_space

SPEC = TargetSpec(batch=4)


@pytest.fixture
def execution(tmp_path):
    return Execution(store=tmp_path / "s.sqlite")


@pytest.fixture
def architecture(tiny):
    return Architecture.of(tiny, tiny.check([[1] * len(tiny.layers)])[0], "mine")


def fill(execution, space, networks=0):
    rows = networks_to_measure(space, networks, 0) if networks else []
    return fill_this_machine(execution.store, DEVICES["alpha"], space, rows)


def test_a_plain_sum_is_the_sum_of_its_parts_and_has_no_interval(execution, tiny, architecture):
    setup = fill(execution, tiny)
    prediction = predict_network(architecture, SPEC, execution)
    assert prediction.seconds == pytest.approx(truth(architecture.network.program, DEVICES["alpha"]))
    assert sum(part.seconds for part in prediction.parts) == pytest.approx(prediction.seconds)
    assert sum(part.share for part in prediction.parts) == pytest.approx(1)
    assert [part.block for part in prediction.parts] == [b.name for b in architecture.network.blocks]
    assert (
        prediction.kind == "measured" and prediction.low is prediction.high is prediction.confidence is None
    )
    assert prediction.no_interval == "whole networks were not measured for it"
    assert prediction.remedy.job == "calibrate" and prediction.setup == setup
    document = prediction.to_json()
    assert document["interval_s"] is None and document["latency_s"] == prediction.seconds


def test_a_network_of_no_space_is_predicted_from_its_layers(execution, tiny, architecture):
    fill(execution, tiny, networks=12)
    bare = predict_network(architecture.network, SPEC, execution)
    # Networks of a space say nothing about a network of none.
    assert bare.kind == "measured" and bare.low is None
    assert bare.seconds == pytest.approx(truth(architecture.network.program, DEVICES["alpha"]))


def test_enough_networks_give_an_interval_that_narrows_with_the_confidence(execution, tiny, architecture):
    fill(execution, tiny, networks=12)
    prediction = predict_network(architecture, SPEC, execution)
    assert prediction.kind == "calibrated" and prediction.model.endswith("on 12 whole networks")
    assert prediction.confidence == 0.9 and prediction.no_interval is prediction.remedy is None
    assert prediction.low <= prediction.seconds <= prediction.high
    narrower = predict_network(architecture, SPEC, execution, confidence=0.5)
    assert prediction.low <= narrower.low and narrower.high <= prediction.high


def test_eight_networks_give_a_figure_and_say_why_there_is_no_interval(execution, tiny, architecture):
    fill(execution, tiny, networks=8)
    prediction = predict_network(architecture, SPEC, execution)
    assert prediction.kind == "calibrated" and prediction.low is None
    assert prediction.no_interval.startswith("8 networks give intervals of at most 89%")
    assert predict_network(architecture, SPEC, execution, confidence=0.8).low is not None


def test_an_architecture_of_a_multi_branch_space_is_its_branches_and_their_joins(execution, rng):
    space = make_space("nse-19-mini", resolution=8, width=0.25, branches=2)
    fill(execution, space)
    architecture = Architecture.of(space, space.sample(1, rng)[0], "mine")
    prediction = predict_network(architecture, SPEC, execution)
    assert [part.block for part in prediction.parts] == [block.name for block in space.blocks]
    assert sum(part.seconds for part in prediction.parts) == pytest.approx(prediction.seconds)


def test_a_part_of_a_space_predicts_its_own_architectures_and_says_what_is_missing(
    execution, tiny, architecture
):
    models = [model for model in subjects_of(architecture.network, 16).models if model.program.output]
    add_figures(execution.store, SPEC.resolve(execution).setup(), DEVICES["alpha"], models, rounds=6)
    prediction = predict_network(architecture, SPEC, execution)
    assert prediction.no_interval == "not all operators of the space are measured"
    assert prediction.remedy.arguments == {"space": tiny.spec}
    other = Architecture.of(tiny, tiny.check([[0] * len(tiny.layers)])[0], "other")
    with pytest.raises(MissingMeasurementsError, match="no latency for") as caught:
        predict_network(other, SPEC, execution)
    assert caught.value.remedies[0].arguments["space"] == tiny.spec


def test_a_file_whose_layers_are_not_measured_names_the_file(tmp_path, execution, architecture):
    path = tmp_path / "a.onnx"
    path.write_bytes(onnx_bytes(architecture.network.program, 1))
    Store(execution.store).close()
    with pytest.raises(MissingMeasurementsError) as caught:
        predict_network(path, SPEC, execution)
    assert caught.value.remedies[0].arguments["network"] == path


def test_a_card_without_a_table_is_predicted_from_its_data_sheet(execution, architecture):
    prediction = predict_network(architecture, TargetSpec(device="titanxp", batch=4), execution)
    assert prediction.kind == "predicted" and prediction.low < prediction.seconds < prediction.high
    assert prediction.setup == DataSheetSetup("titanxp", 4, "fp32") and prediction.table_digest is None
    assert len(prediction.parts) == len(architecture.network.blocks)
    assert all(part.kind == "predicted" and np.isfinite(part.seconds) for part in prediction.parts)
    assert not execution.store.exists()


def test_a_store_that_is_not_there_is_told(execution, architecture):
    with pytest.raises(StoreError, match="there is no store at"):
        predict_network(architecture, SPEC, execution)
