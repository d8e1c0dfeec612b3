"""The state of the machine before and after measuring, and during each round.

Everything is read from the system. What a system or a container does not provide is None, never zero.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

from nascli.lut.store.visits import RoundConditions

_PROC = Path("/proc")
_CPUS = Path("/sys/devices/system/cpu")
_PACKAGES = (
    "nascli", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13",
    "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "cuda-core", "pycuda", "onnx", "numpy",
)  # fmt: skip


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _ticks() -> tuple[float, float] | None:
    """Return the busy seconds of all cores and the seconds that the hypervisor took, since the machine started."""
    text = _text(_PROC / "stat")
    if text is None or not text.startswith("cpu "):
        return None
    fields = [int(field) for field in text.splitlines()[0].split()[1:9]]
    if len(fields) < 8:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    hertz = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / hertz, steal / hertz


def _pressure() -> float | None:
    """Return the seconds during which some process waited for a core, since the machine started."""
    for line in (_text(_PROC / "pressure" / "cpu") or "").splitlines():
        if line.startswith("some") and "total=" in line:
            return int(line.rpartition("total=")[2]) * 1e-6
    return None


class ConditionMonitor:
    """Observes what the machine does between `start` and `stop`."""

    def start(self) -> None:
        """Begin to observe."""
        self._began_at = time.time()
        self._clock = time.monotonic()
        self._ticks = _ticks()
        self._pressure = _pressure()
        self._own = time.process_time()

    def stop(self, bursts: int) -> RoundConditions:
        """Return the conditions since `start`, during which `bursts` operators were timed."""
        seconds = max(time.monotonic() - self._clock, 1e-9)
        own = time.process_time() - self._own
        ticks, pressure = _ticks(), _pressure()
        steal = elsewhere = waiting = None
        if ticks is not None and self._ticks is not None:
            steal = max(0.0, ticks[1] - self._ticks[1]) / seconds
            elsewhere = max(0.0, ticks[0] - self._ticks[0] - own) / seconds
        if pressure is not None and self._pressure is not None:
            waiting = max(0.0, pressure - self._pressure) / seconds
        return RoundConditions(self._began_at, seconds, bursts, steal, elsewhere, waiting)


def governors() -> set[str]:
    """Return the distinct frequency governors of the cores; empty in most virtual machines, which hide them."""
    texts = (_text(path) for path in _CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor"))
    return {governor for governor in texts if governor}


def _frequencies() -> list[float] | None:
    text = _text(_PROC / "cpuinfo") or ""
    frequencies = [float(line.partition(":")[2]) for line in text.splitlines() if line.startswith("cpu MHz")]
    return frequencies or None


def _throttled() -> int | None:
    """Return how often the cores were slowed down because of heat since the machine started."""
    counts = [_text(path) for path in _CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    return sum(int(count) for count in counts if count) if counts else None


def quota() -> float | None:
    """Return the number of cores that the container may use; None without a limit."""
    text = _text(Path("/sys/fs/cgroup/cpu.max"))
    if text is None or text.startswith("max") or len(text.split()) != 2:
        return None
    allowed, period = text.split()
    return int(allowed) / int(period)


def snapshot() -> dict[str, Any]:
    """Return the state of the machine as a JSON document, for the provenance of a table.

    It contains the load averages, the frequencies of the cores in MHz, their governors, the number of times they were
    throttled, the cores that this process may use, the quota of the container, and the versions of the kernel, Python,
    and the packages that influence latencies.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "load": None if load is None else [round(value, 2) for value in load],
        "frequency_mhz": _frequencies(),
        "governors": sorted(governors()) or None,
        "throttled": _throttled(),
        "affinity": None if affinity is None else sorted(affinity(0)),
        "quota": quota(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
    }
