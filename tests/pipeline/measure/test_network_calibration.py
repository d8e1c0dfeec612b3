import numpy as np
import pytest
from simulated_devices import DEVICES, fill_this_machine, truth

from nascli.costmodel import table_latency
from nascli.costmodel.calibration import spread_architectures
from nascli.errors import ConstraintError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.network_calibration import ModelErrors, calibrate_space
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.random_streams import RandomStream, generator

SPEC = TargetSpec(batch=4)


@pytest.fixture
def filled(tmp_path, tiny):
    """Fills a store with those networks that a calibration of a seed asks for."""
    path = tmp_path / "s.sqlite"

    def fill(networks, seed=0):
        setup = fill_this_machine(path, DEVICES["alpha"], tiny)
        with Store(path) as store:
            plain = table_latency(tiny, LatencyTable.read(store, setup), "")
        codes = spread_architectures(tiny, plain, networks, generator(seed, RandomStream.CALIBRATION))
        rows = list(dict.fromkeys(tuple(map(int, row)) for row in codes))
        fill_this_machine(path, DEVICES["alpha"], tiny, rows, noted=False)
        return Execution(store=path), rows

    return fill


def calibrated(space, execution, networks):
    return calibrate_space(space, SPEC, execution, networks=networks, seed=0, progress=Silent())


def test_a_device_that_adds_up_is_calibrated_to_its_truth(filled, tiny, rng):
    execution, rows = filled(12)
    summary = calibrated(tiny, execution, 12)
    assert summary.networks == len(rows) and summary.space == tiny.spec
    assert summary.cost.kind == "calibrated" and summary.contradicting == ()
    exact = [truth(tiny.network(row).program, DEVICES["alpha"]) for row in rows]
    assert summary.fitted == pytest.approx((min(exact), max(exact)))
    others = tiny.sample(10, rng)
    expected = [truth(tiny.network(row).program, DEVICES["alpha"]) for row in others]
    assert summary.cost(others) == pytest.approx(expected, rel=0.05)
    assert summary.calibrated.within_5_percent == 1 and summary.half_width < 0.05
    assert summary.to_json()["fitted_s"] == list(summary.fitted) and "cost" not in summary.to_json()


def test_eight_networks_have_no_interval_of_ninety_percent(filled, tiny):
    execution, rows = filled(8)
    assert len(rows) == 8
    assert calibrated(tiny, execution, 8).half_width is None


def test_too_few_networks_are_refused_with_a_number_that_is_enough(filled, tiny):
    execution, _ = filled(3)
    with pytest.raises(ConstraintError, match="needs at least 8 different networks") as caught:
        calibrated(tiny, execution, 3)
    assert caught.value.remedies[0].arguments == {"networks": 24}


def test_errors_are_summarised_as_bias_magnitude_and_share():
    errors = ModelErrors.of(np.array([-0.1, 0.02, 0.05, 0.07]))
    assert errors.to_json() == pytest.approx({"bias": 0.01, "mean_absolute": 0.06, "within_5_percent": 0.5})
