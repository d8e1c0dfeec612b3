"""Stand-ins for hardware, with a known truth."""

import os
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

from nascli.profiles.devices.device import Device
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

    def time(self, runs, warmup=0):
        assert not self.closed
        for _ in range(warmup):
            self.machine.run(self.seconds)
        return Burst(np.array([self.machine.run(self.seconds) for _ in range(runs)]))

    def run(self, inputs):
        return inputs

    def evaluate(self, feeds):
        return {"output": next(iter(feeds.values()), np.ones(2, np.float32))}

    def notes(self):
        return {}

    def close(self):
        self.closed = True


class SimulatedRuntime:
    """A runtime whose models take a time that follows from their size in bytes."""

    name = "simulated"
    precisions: ClassVar = {"fp32": "fp32"}
    warmup_seconds = 0.0
    modes = ()

    def __init__(self, machine, missing=None):
        self.machine, self.loads, self._missing = machine, [], missing

    def missing(self):
        return self._missing

    def refuses(self, device):
        return None

    def version(self):
        return "1"

    @staticmethod
    def truth(model):
        return 1e-4 + 1e-9 * len(model)

    def load(self, model, options):
        session = SimulatedSession(self.machine, self.truth(model))
        self.loads.append(session)
        return session

    def node_times(self, model, options):
        return None


DEVICE = Device("simulated-device", "Simulated", 1, (("model", "simulated"),))


class NvmlError(Exception):
    pass


class NvmlNotSupported(NvmlError):
    pass


class FakeNvml:
    """NVML of a machine that the test describes; a call that the machine does not support raises as NVML does."""

    NVMLError = NvmlError
    NVMLError_NotSupported = NvmlNotSupported
    NVML_CLOCK_GRAPHICS, NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 0, 1, 2, 0

    def __init__(self, names, capability=(6, 1), cuda=12090, slices=(), fails=None):
        self.names, self.capability, self.cuda, self.slices = list(names), capability, cuda, list(slices)
        self.fails = fails
        self.reasons = 0
        self.locked = self.applied = None
        self.gone = False
        self.open = 0
        self.unsupported = set()

    def nvmlInit(self):
        if self.fails:
            raise NvmlError(self.fails)
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlSystemGetDriverVersion(self):
        return "580.65"

    def nvmlSystemGetCudaDriverVersion_v2(self):
        return self.cuda

    def nvmlDeviceGetCount(self):
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index):
        return ("card", index)

    def nvmlDeviceGetName(self, handle):
        return self.names[handle[1]].encode() if handle[0] == "card" else f"{self.names[0]} MIG {handle[1]}"

    def nvmlDeviceGetUUID(self, handle):
        if self.gone:
            raise NvmlError("GPU is lost")
        return f"GPU-{handle[1]}" if handle[0] == "card" else f"MIG-{handle[1]}"

    def nvmlDeviceGetPciInfo(self, handle):
        return SimpleNamespace(busId=f"00000000:0{handle[1]}:00.0")

    def nvmlDeviceGetCudaComputeCapability(self, handle):
        return list(self.capability)

    def nvmlDeviceGetMemoryInfo(self, handle):
        return SimpleNamespace(total=12 << 30)

    def nvmlDeviceGetMigMode(self, handle):
        if not self.slices:
            raise NvmlError("Not Supported")
        return 1, 1

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):
        return len(self.slices) + 1

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle, number):
        if number >= len(self.slices):
            raise NvmlError("Not Found")
        return ("slice", self.slices[number])

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):
        if self.gone:
            raise NvmlError("GPU is lost")
        return self.reasons

    def _figure(self, name, value):
        if name in self.unsupported:
            raise NvmlError("Not Supported")
        return value

    def nvmlDeviceGetClockInfo(self, handle, kind):
        return self._figure("clock", 1404 if kind == self.NVML_CLOCK_SM else 5705)

    def nvmlDeviceGetMaxClockInfo(self, handle, kind):
        return 1911

    def nvmlDeviceGetTemperature(self, handle, sensor):
        return self._figure("temperature", 61)

    def nvmlDeviceGetPowerUsage(self, handle):
        return self._figure("power", 180_500)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        return 250_000

    def nvmlDeviceGetPerformanceState(self, handle):
        return 0

    def nvmlDeviceGetPersistenceMode(self, handle):
        return 1

    def nvmlDeviceGetEccMode(self, handle):
        return self._figure("ecc", [0, 0])

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=os.getpid()), SimpleNamespace(pid=4242)]

    def nvmlDeviceGetDefaultApplicationsClock(self, handle, kind):
        return self._figure("application clock", 1404)

    def nvmlDeviceSetGpuLockedClocks(self, handle, low, high):
        # Locks begin with Volta.
        if self.capability < (7, 0):
            raise NvmlNotSupported("Not Supported")
        self.locked = self._figure("lock", (low, high))

    def nvmlDeviceSetApplicationsClocks(self, handle, memory, graphics):
        self.applied = self._figure("apply", (memory, graphics))

    def nvmlDeviceResetApplicationsClocks(self, handle):
        self.applied = None

    def nvmlDeviceResetGpuLockedClocks(self, handle):
        self.locked = None


class SimulatedCard:
    """A card with a queue and a clock of its own, and a host that takes time to queue work; both in seconds.

    Work takes `truth(card_time)` on the card, times its jitter; a query starts when the card is free.
    """

    name = "simulated"

    def __init__(self, truth, enqueue=5e-6, jitter=0.0, seed=0, hangs=False):
        self.truth, self.enqueue_seconds, self.jitter, self.hangs = truth, enqueue, jitter, hangs
        self.rng = np.random.default_rng(seed)
        self.host = 0.0
        self.free_at = 0.0
        self.queued = 0
        self.deepest = 0
        self._ends = []

    def clock(self):
        # Looking at the clock takes a moment too; a loop that spins makes time pass.
        self.host += 2e-7
        return self.host

    def stream(self):
        return self

    handle = 7

    def record(self, event):
        # A mark is passed when the work before it is done, and not before it was queued.
        event.at = float("inf") if self.hangs else max(self.free_at, self.host)
        self.free_at = max(self.free_at, self.host) if not self.hangs else self.free_at

    def synchronise(self):
        self.host = max(self.host, self.free_at)

    def event(self):
        card = self

        class Event:
            at = None

            def done(self):
                return self.at is not None and self.at <= card.host

            def since(self, earlier):
                return self.at - earlier.at

        return Event()

    def work(self, number):
        self.host += self.enqueue_seconds
        start = max(self.free_at, self.host)
        taken = self.truth(start) * (1 + self.jitter * abs(self.rng.standard_normal()))
        self.free_at = start + taken
        self._ends = [end for end in self._ends if end > self.host] + [self.free_at]
        self.deepest = max(self.deepest, len(self._ends))
