import numpy as np
import pytest

from nascli.execution import Execution
from nascli.lut import LatencyTable, Sample, Setup, Store, program_key
from nascli.lut.store.visits import RoundConditions
from nascli.pipeline.measure.table_quality import split_half_difference, table_quality
from nascli.spaces.operators.inverted_residual import mbconv

SETUP = Setup("alpha", "simulated", "1", "fp32", 4, 1)
STEADY, NOISY = mbconv((8, 4, 4), 8, expand=2), mbconv((8, 4, 4), 8, expand=3)
DAY = 86400.0


def samples(factors, *, start=0.0, throttled=False):
    return [
        Sample(r, np.full(3, 1e-3 * factor), 1e-3, start + r * DAY, throttled=throttled)
        for r, factor in enumerate(factors)
    ]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "s.sqlite"
    with Store(path) as store:
        store.add_setup(SETUP, {"model": "simulated"})
        store.add_operators([STEADY, NOISY])
    return path


def add(path, operator, rows):
    with Store(path) as store:
        store.add_samples(SETUP, {program_key(operator.program): rows})


def quality(path, *operators):
    with Store(path) as store:
        table = LatencyTable.read(store, SETUP)
    return table_quality(table, operators, Execution(store=path))


def test_settled_models_are_counted_and_the_days_of_samples_are_told(store):
    add(store, STEADY, samples([1] * 6))
    add(store, NOISY, samples([1, 2, 3, 1, 2, 3], start=2 * DAY))
    found = quality(store, STEADY, NOISY)
    assert (found.models, found.settled, found.throttled) == (2, 1, 0)
    assert found.taken == ("1970-01-01", "1970-01-08") and found.device == {"model": "simulated"}
    # One half-interval is 0, so their median is half of the other.
    assert found.half_interval > 0 and quality(store, STEADY).half_interval == 0


def test_only_the_models_that_are_asked_about_count(store):
    add(store, STEADY, samples([1] * 6))
    add(store, NOISY, samples([1, 2, 3, 1, 2, 3], start=2 * DAY))
    found = quality(store, STEADY)
    assert (found.models, found.settled) == (1, 1) and found.taken == ("1970-01-01", "1970-01-06")


def test_figures_of_a_slowed_down_device_are_told(store):
    add(store, STEADY, samples([1] * 6, throttled=True))
    assert quality(store, STEADY).throttled == 1


def test_what_the_machine_was_like_is_the_median_over_rounds(store):
    with Store(store) as opened:
        visit = opened.begin_visit(SETUP, 0.0, {})
        for number, (steal, elsewhere) in enumerate([(0.0, 1.0), (0.2, None), (0.1, 3.0)]):
            opened.add_round(visit, number, RoundConditions(0.0, 1.0, 5, steal, elsewhere, None))
        opened.end_visit(visit, 3.0, {})
    found = quality(store, STEADY)
    assert (found.rounds, found.steal, found.elsewhere_cores, found.cpu_pressure) == (3, 0.1, 2.0, None)


def test_what_nobody_recorded_is_none(store):
    found = quality(store, STEADY)
    assert (found.models, found.settled, found.rounds) == (1, 0, 0)
    assert found.half_interval is found.halves_apart is found.taken is found.steal is None
    assert found.to_json()["taken"] is None


def test_halves_of_alternating_rounds_differ_as_the_rounds_do():
    assert split_half_difference({"a": samples([1.1, 1] * 4)}) == pytest.approx(0.1)
    assert split_half_difference({"a": samples([1] * 6)}) == 0
    # The median over models, of those that have enough rounds.
    history = {"a": samples([1.1, 1] * 4), "b": samples([1.3, 1] * 4), "c": samples([9, 1] * 2)}
    assert split_half_difference(history) == pytest.approx(0.2)
    assert split_half_difference({"c": samples([9, 1] * 2)}) is None


def test_a_drift_of_the_whole_machine_keeps_the_halves_together():
    rows = [Sample(r, np.full(3, 1e-3 * 2**r), 1e-3 * 2**r, 0.0) for r in range(6)]
    assert split_half_difference({"a": rows}) == pytest.approx(0)
