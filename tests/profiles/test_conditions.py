import json
import multiprocessing
import time

import numpy as np
import pytest

from nascli.lut.store.visits import RoundConditions
from nascli.profiles import advice, conditions
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.registry import get_runtime
from nascli.spaces.operators.inverted_residual import mbconv


def spin():
    while True:
        pass


@pytest.fixture
def busy():
    processes = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(4)]
    for process in processes:
        process.start()
    time.sleep(1.0)
    yield
    for process in processes:
        process.kill()
        process.join()


def test_a_snapshot_is_a_document():
    document = json.loads(json.dumps(conditions.snapshot()))
    assert {"load", "governors", "affinity", "versions", "frequency_mhz", "throttled"} <= set(document)


def test_what_the_system_hides_is_unknown_not_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(conditions, "_PROC", tmp_path)
    monitor = conditions.ConditionMonitor()
    monitor.start()
    found = monitor.stop(3)
    assert (found.steal, found.elsewhere, found.pressure, found.bursts) == (None, None, None, 3)


@pytest.mark.skipif(conditions._ticks() is None, reason="the system does not count busy cores")
def test_busy_neighbours_are_noticed_and_said(busy):
    monitor = conditions.ConditionMonitor()
    monitor.start()
    time.sleep(1.5)
    found = monitor.stop(1)
    assert found.elsewhere > 0.5
    assert any("other processes kept" in a.what for a in advice.round_advice([found]))


def test_quiet_rounds_need_no_advice():
    quiet = RoundConditions(0.0, 1.0, 5, 0.0, 0.01, 0.0)
    unknown = RoundConditions(0.0, 1.0, 5, None, None, None)
    assert advice.round_advice([quiet, unknown]) == []
    stolen = RoundConditions(0.0, 1.0, 5, 0.2, 0.0, 0.0)
    assert "hypervisor" in advice.round_advice([stolen])[0].what


def test_too_many_threads_are_advised_against(monkeypatch):
    assert any("threads share" in a.what for a in advice.machine_advice(threads=100_000))


def test_waiting_for_a_core_is_taken_off(busy):
    """Long runs under load are preempted every time; without the waits they take what they take alone."""
    session = get_runtime("ort-cpu").load(
        onnx_bytes(mbconv((64, 28, 28), 64).program, 16), RuntimeOptions(threads=1)
    )
    try:
        session.time(3)
        start = time.perf_counter()
        seconds, waited = session.time(30)
        wall = time.perf_counter() - start
    finally:
        session.close()
    assert waited > 0.2 * wall
    # What was waited between two runs is in neither.
    assert 0.7 * wall < np.sum(seconds) + waited < 1.01 * wall
