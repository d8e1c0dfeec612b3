"""Stand-ins for hardware, with a known truth."""

import numpy as np

from nascli.profiles.devices import Device
from nascli.profiles.runtimes.base import Burst


class SimulatedMachine:
    """A clock, drifting speed and noise; sessions on it take time that the test knows."""

    def __init__(self, drift=0.0, jitter=0.0, seed=0):
        self.now = 0.0
        self.drift = drift
        self.jitter = jitter
        self.rng = np.random.default_rng(seed)

    def run(self, seconds):
        speed = 1 + self.drift * np.sin(self.now / 3.0)
        taken = seconds * speed * (1 + self.jitter * abs(self.rng.standard_normal()))
        self.now += taken
        return taken


class SimulatedSession:
    def __init__(self, machine, seconds):
        self.machine, self.seconds, self.closed = machine, seconds, False

    def time(self, runs):
        assert not self.closed
        return Burst(np.array([self.machine.run(self.seconds) for _ in range(runs)]))

    def run(self, inputs):
        return inputs

    def close(self):
        self.closed = True


class SimulatedRuntime:
    """A runtime whose models take a time that follows from their size in bytes."""

    name = "simulated"
    precisions = ("fp32",)

    def __init__(self, machine, missing=None):
        self.machine, self.loads, self._missing = machine, [], missing

    def missing(self):
        return self._missing

    def version(self):
        return "1"

    @staticmethod
    def truth(model):
        return 1e-4 + 1e-9 * len(model)

    def load(self, model, options):
        session = SimulatedSession(self.machine, self.truth(model))
        self.loads.append(session)
        return session


DEVICE = Device("simulated-device", "Simulated", 1, (("model", "simulated"),))
