"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import ModelRefusedError, missing_package
from nascli.profiles.devices.device import Device
from nascli.profiles.runtimes.base import Burst, Runtime, RuntimeOptions

_PROVIDER = "CPUExecutionProvider"
# Waits that are shorter than this cannot be told from the time that reading two clocks takes.
_MIN_WAIT_NS = 20_000


class OrtCpuSession:
    """A model loaded by ONNX Runtime on the CPU.

    Input and output are bound once, so that the time of a run contains no copying.

    Args:
        model: The bytes of an ONNX model with one input and a static batch.
        options: How to run it; only the threads count.

    Raises:
        ModelRefusedError: ONNX Runtime refuses the model.
    """

    def __init__(self, model: bytes, options: RuntimeOptions) -> None:
        import onnxruntime as ort

        self._is_single_threaded = options.threads == 1 and hasattr(time, "thread_time_ns")
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = 3
        # Many models are loaded while one is timed, so the threads of the others must not keep spinning.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session: Any = ort.InferenceSession(model, settings, providers=[_PROVIDER])
        except Exception as error:
            raise ModelRefusedError(f"ONNX Runtime refuses the model: {error}") from error
        self._input = self._session.get_inputs()[0]
        self._binding: Any = self._session.io_binding()
        shape = tuple(int(size) for size in self._input.shape)
        values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self._binding.bind_cpu_input(self._input.name, values)
        self._binding.bind_output(self._session.get_outputs()[0].name, "cpu")

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run the model `runs` times, after `warmup` runs that do not count.

        With one thread, the difference between the wall clock and the thread's own clock is the time during which the
        thread waited for a core that another process had. That is no cost of the model and is subtracted. With several
        threads it is unknown.
        """
        run, binding, wall = self._session.run_with_iobinding, self._binding, time.perf_counter_ns
        thread_clock = time.thread_time_ns if self._is_single_threaded else None
        for _ in range(warmup):
            run(binding)
        nanoseconds = np.empty(runs)
        waits = np.zeros(runs)
        for index in range(runs):
            if thread_clock is None:
                start = wall()
                run(binding)
                nanoseconds[index] = wall() - start
            else:
                thread_start = thread_clock()
                start = wall()
                run(binding)
                nanoseconds[index] = wall() - start
                waits[index] = nanoseconds[index] - (thread_clock() - thread_start)
        if thread_clock is None:
            return Burst(nanoseconds * 1e-9)
        waits[waits < _MIN_WAIT_NS] = 0
        return Burst((nanoseconds - waits) * 1e-9, float(waits.sum()) * 1e-9)

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the model's output for one batch."""
        outputs = self._session.run(None, {self._input.name: inputs})
        return np.asarray(outputs[0], dtype=np.float32)

    def notes(self) -> dict[str, Any]:
        """Return no notes, since ONNX Runtime does not report what it fused."""
        return {}

    def close(self) -> None:
        """Free the model."""
        self._binding = None
        self._session = None


class OrtCpu:
    """ONNX Runtime's CPU execution provider."""

    name = "ort-cpu"
    auto_rank = 0
    precisions: Mapping[str, str] = MappingProxyType({"fp32": "fp32", "int8": "int8"})
    warmup_seconds = 0.0
    modes: tuple[str, ...] = ()

    def missing(self) -> str | None:
        """Return None if onnxruntime is installed, else how to install it."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed: pip install 'nascli[cpu]'"
        return None

    def refuses(self, device: Device) -> str | None:
        """Return None on a CPU, else the reason."""
        return None if device.card is None else f"{self.name} runs on the CPU, and {device.key} is a card"

    def version(self) -> str:
        """Return the version of the installed onnxruntime.

        Raises:
            RuntimeUnavailableError: onnxruntime is not installed.
        """
        for package in ("onnxruntime", "onnxruntime-gpu"):
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        raise missing_package("onnxruntime", "cpu", "measuring on the CPU")

    def load(self, model: bytes, options: RuntimeOptions) -> OrtCpuSession:
        """Load a model.

        Raises:
            ModelRefusedError: ONNX Runtime refuses the model.
            RuntimeUnavailableError: onnxruntime is not installed.
        """
        if self.missing() is not None:
            raise missing_package("onnxruntime", "cpu", "measuring on the CPU")
        return OrtCpuSession(model, options)


RUNTIMES: tuple[Runtime, ...] = (OrtCpu(),)
