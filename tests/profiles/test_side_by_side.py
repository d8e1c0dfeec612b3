import numpy as np
import pytest
from fakes import DEVICE, SimulatedMachine, SimulatedRuntime, SimulatedSession

from nascli.errors import ModelRefusedError
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.side_by_side import time_side_by_side
from nascli.profiles.target import Target
from nascli.progress import Silent


class Steps(Silent):
    def __init__(self):
        self.steps = 0

    def advance(self, steps=1, note=""):
        self.steps += steps


def test_ratios_hold_although_the_machine_drifts():
    machine = SimulatedMachine(drift=0.3, jitter=0.02)
    sessions = {
        name: SimulatedSession(machine, seconds) for name, seconds in (("a", 4e-3), ("b", 2e-3), ("c", 1e-3))
    }
    progress = Steps()
    figures, refused = time_side_by_side(
        sessions, Target(DEVICE, SimulatedRuntime(machine), RuntimeOptions(), 1), MeasurementProtocol(),
        rng=np.random.default_rng(0), progress=progress,
    )  # fmt: skip
    assert not refused and progress.steps == 3
    assert figures["a"].seconds / figures["b"].seconds == pytest.approx(2, rel=0.02)
    assert figures["a"].seconds / figures["c"].seconds == pytest.approx(4, rel=0.02)
    assert all(figure.low <= figure.seconds <= figure.high for figure in figures.values())


def test_a_model_that_cannot_run_is_told_and_the_others_are_timed():
    machine = SimulatedMachine()

    class Refusing(SimulatedSession):
        def time(self, runs, warmup=0):
            raise ModelRefusedError("no room")

    sessions = {"good": SimulatedSession(machine, 1e-3), "bad": Refusing(machine, 1e-3)}
    figures, refused = time_side_by_side(
        sessions, Target(DEVICE, SimulatedRuntime(machine), RuntimeOptions(), 1), MeasurementProtocol(),
        rng=np.random.default_rng(0), progress=Silent(),
    )  # fmt: skip
    assert set(figures) == {"good"} and refused == {"bad": "no room"}
    assert figures["good"].seconds == pytest.approx(1e-3, rel=0.01)
