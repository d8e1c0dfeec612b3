import shutil

import pytest
from simulated_devices import (
    DEVICES,
    add_figures,
    add_whole,
    fill_references,
    fill_this_machine,
    truth,
    whole,
)

from nascli.errors import ConstraintError, ModelRefusedError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure import device_calibration as module
from nascli.pipeline.measure.device_calibration import (
    calibrate_on_references,
    known_references,
    reference_networks,
)
from nascli.pipeline.measure.measured_networks import networks_to_measure
from nascli.pipeline.measure.prediction import predict_network
from nascli.pipeline.measure.subjects import read_network, subjects_of
from nascli.pipeline.tables.exchange import export_table, import_packs
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.onnx.networks import read_onnx_network
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import Architecture, make_space
from nascli.spaces.network import Network
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.inverted_residual import mbconv

SPEC = TargetSpec(batch=4)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    path = tmp_path_factory.mktemp("references") / "s.sqlite"
    fill_references(path)
    return path


@pytest.fixture
def execution(tmp_path, calibrated):
    return Execution(store=shutil.copy(calibrated, tmp_path / "s.sqlite"))


def of_my_own(tmp_path, execution):
    """The file of a network whose layers are measured, as large as the reference networks."""
    blocks = [
        conv_block((3, 64, 64), 32, stride=2),
        mbconv((32, 32, 32), 64, stride=2),
        mbconv((64, 16, 16), 64),
        head((64, 16, 16), 1000, features=1280),
    ]
    network = Network("mine", tuple((f"b{i}", block) for i, block in enumerate(blocks)))
    path = tmp_path / "mine.onnx"
    path.write_bytes(onnx_bytes(network.program, 4))
    models = [m for m in subjects_of(read_network(path)[0], 16).models if m.program.output]
    add_figures(execution.store, SPEC.resolve(execution).setup(), DEVICES["alpha"], models, rounds=6)
    return path, network


def table(execution):
    with Store(execution.store) as store:
        return LatencyTable.read(store, SPEC.resolve(execution).setup())


def test_reference_networks_are_cut_as_files_of_them_are(tmp_path):
    for reference in reference_networks()[:12:5]:
        path = tmp_path / "r.onnx"
        path.write_bytes(onnx_bytes(reference.network.program, 1))
        read = read_onnx_network(path)
        assert [o.program for o in read.operators] == [o.program for o in reference.network.operators]


def test_a_device_whose_networks_are_slower_than_their_sums_is_learned(execution):
    summary = calibrate_on_references(SPEC, execution, progress=Silent())
    assert (summary.networks, summary.families) == (len(reference_networks()), 22) and not summary.left_out
    assert summary.corrected.within_5_percent == 1 and abs(summary.corrected.bias) < 1e-6
    assert summary.plain.bias < -0.15 and summary.half_width < 1e-6 and summary.contradicting == ()
    document = summary.to_json()
    assert document["version"] == 1 and len(document["references"]) == summary.networks
    assert document["coefficients"] == pytest.approx({"in context": 1.2, "weights": 5e-11})


def test_a_file_of_any_network_is_corrected_and_has_an_interval(tmp_path, execution):
    path, network = of_my_own(tmp_path, execution)
    found = predict_network(path, SPEC, execution)
    assert found.seconds == pytest.approx(whole(network.program))
    assert found.low <= found.seconds <= found.high and found.confidence == 0.9
    assert found.kind == "calibrated" and found.no_interval is found.remedy is None
    assert found.model == (
        "sum in context, corrected by 31 reference networks of 22 families; interval from left-out families"
    )
    assert sum(part.seconds for part in found.parts) == pytest.approx(
        truth(network.program, DEVICES["alpha"])
    )
    assert not found.extrapolated and "outside" not in found.to_json()


def test_an_architecture_of_a_space_without_a_calibration_is_corrected_too(execution, tiny):
    fill_this_machine(execution.store, DEVICES["alpha"], tiny)
    mine = Architecture.of(tiny, tiny.check([[1] * len(tiny.layers)])[0], "mine")
    found = predict_network(mine, SPEC, execution)
    assert found.seconds == pytest.approx(whole(mine.network.program), rel=1e-6)
    # Networks of a few kilobytes are unlike those of the list.
    assert found.extrapolated and "MB of weights" in " ".join(found.outside)
    assert found.to_json()["outside"] == list(found.outside)


def test_branches_are_summed_as_the_space_sums_them(execution, rng):
    space = make_space("nse-19-mini", resolution=8, width=0.25, branches=2)
    fill_this_machine(execution.store, DEVICES["alpha"], space)
    mine = Architecture.of(space, space.sample(1, rng)[0], "mine")
    found = predict_network(mine, SPEC, execution)
    plain = sum(part.seconds for part in found.parts)
    assert found.kind == "calibrated" and found.seconds > 1.19 * plain


def test_the_calibration_of_a_space_takes_precedence(execution, tiny):
    rows = networks_to_measure(tiny, 12, 0)
    fill_this_machine(execution.store, DEVICES["alpha"], tiny, rows)
    mine = Architecture.of(tiny, tiny.check([[1] * len(tiny.layers)])[0], "mine")
    found = predict_network(mine, SPEC, execution)
    assert found.model.endswith("calibrated on 12 whole networks")
    assert found.seconds == pytest.approx(truth(mine.network.program, DEVICES["alpha"]), rel=0.05)


def test_another_batch_has_a_calibration_of_its_own(tmp_path, execution, tiny):
    fill_this_machine(execution.store, DEVICES["alpha"], tiny, batch=8)
    mine = Architecture.of(tiny, tiny.check([[1] * len(tiny.layers)])[0], "mine")
    found = predict_network(mine, TargetSpec(batch=8), execution)
    assert found.low is None and found.no_interval == "whole networks were not measured for it"
    assert found.remedy.arguments["space"] == tiny.spec


def test_a_calibration_that_was_begun_says_how_far_it_is(tmp_path):
    execution = Execution(store=tmp_path / "s.sqlite")
    first = reference_networks()[0].network.name
    fill_references(execution.store, families=4, leave_out=[first])
    path, network = of_my_own(tmp_path, execution)
    found = predict_network(path, SPEC, execution)
    assert found.seconds == pytest.approx(truth(network.program, DEVICES["alpha"])) and found.low is None
    assert "of 31 reference networks are measured, 1 more without all of their pieces" in found.no_interval
    assert "9 are needed" in found.no_interval
    assert found.remedy.job == "calibrate" and found.remedy.arguments["target"] == SPEC
    assert known_references(table(execution)).incomplete == (first,)


def test_a_confidence_beyond_the_families_gives_a_figure_and_the_reason(tmp_path, execution):
    path, network = of_my_own(tmp_path, execution)
    found = predict_network(path, SPEC, execution, confidence=0.99)
    assert found.seconds == pytest.approx(whole(network.program)) and found.low is None
    assert found.no_interval.startswith("22 families of networks give intervals of at most 96%")


def test_a_table_that_is_handed_on_keeps_its_calibrations(tmp_path, execution, tiny):
    rows = networks_to_measure(tiny, 12, 0)
    fill_this_machine(execution.store, DEVICES["alpha"], tiny, rows)
    path, _ = of_my_own(tmp_path, execution)
    mine = Architecture.of(tiny, tiny.check([[1] * len(tiny.layers)])[0], "mine")
    before = [predict_network(one, SPEC, execution) for one in (path, mine)]
    export_table(SPEC, execution, tmp_path / "pack.parquet")
    handed_on = Execution(store=tmp_path / "elsewhere.sqlite")
    import_packs([tmp_path / "pack.parquet"], handed_on.store)
    after = [predict_network(one, SPEC, handed_on) for one in (path, mine)]
    for old, new in zip(before, after, strict=True):
        assert new.model == old.model and new.confidence == 0.9
        assert (new.seconds, new.low, new.high) == pytest.approx((old.seconds, old.low, old.high), rel=1e-6)


def test_a_network_that_the_runtime_refuses_is_named_and_the_others_are_used(
    tmp_path, calibrated, monkeypatch
):
    execution = Execution(store=tmp_path / "s.sqlite")
    setup = fill_references(execution.store, families=10)
    refused = [
        r.network for r in reference_networks() if r.family not in known_references(table(execution)).families
    ]

    def refuse(*args, **options):
        raise ModelRefusedError("ort-cpu refuses 12 models.")

    told = []

    class Told(Silent):
        def message(self, text, *remedies):
            told.append(text)

    monkeypatch.setattr(module, "measure_networks", refuse)
    monkeypatch.setattr(module, "profile_models", refuse)
    summary = calibrate_on_references(SPEC, execution, progress=Told())
    assert summary.families == 10 and set(summary.left_out) == {network.name for network in refused}
    assert "to measure; about" in told[0] and "ort-cpu refuses 12 models." in told
    add_whole(execution.store, setup, refused[:1])
    again = calibrate_on_references(SPEC, execution, progress=Told())
    assert again.left_out[refused[0].name] == "not all of its pieces are measured"


def test_too_few_families_are_an_error_with_what_was_refused(tmp_path, monkeypatch):
    execution = Execution(store=tmp_path / "s.sqlite")
    fill_references(execution.store, families=2)

    def refuse(*args, **options):
        raise ModelRefusedError("ort-cpu refuses 12 models.")

    monkeypatch.setattr(module, "measure_networks", refuse)
    monkeypatch.setattr(module, "profile_models", refuse)
    with pytest.raises(ConstraintError, match=r"networks of 2 families are too few.*refuses 12 models"):
        calibrate_on_references(SPEC, execution, progress=Silent())
