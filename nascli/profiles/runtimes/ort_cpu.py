"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError, missing_package
from nascli.profiles.runtimes.base import RuntimeOptions, Seconds

_PROVIDER = "CPUExecutionProvider"


class OrtCpuSession:
    """A model on the CPU, its input and output bound once so that a run is only the run."""

    def __init__(self, model: bytes, options: RuntimeOptions) -> None:
        import onnxruntime as ort

        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        settings.log_severity_level = 3
        # Many models are loaded while one is timed: the threads of the others must not go on spinning.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        try:
            self._session: Any = ort.InferenceSession(model, settings, providers=[_PROVIDER])
        except Exception as error:
            raise DeviceError(f"ONNX Runtime refuses the model: {error}") from error
        self._input = self._session.get_inputs()[0]
        self._binding: Any = self._session.io_binding()
        shape = tuple(int(size) for size in self._input.shape)
        values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        self._binding.bind_cpu_input(self._input.name, values)
        self._binding.bind_output(self._session.get_outputs()[0].name, "cpu")

    def time(self, runs: int) -> Seconds:
        """Run `runs` times; seconds of each."""
        run, binding = self._session.run_with_iobinding, self._binding
        taken = np.empty(runs)
        for index in range(runs):
            start = perf_counter_ns()
            run(binding)
            taken[index] = perf_counter_ns() - start
        return taken * 1e-9

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The model's output for one batch."""
        outputs = self._session.run(None, {self._input.name: inputs})
        return np.asarray(outputs[0], dtype=np.float32)

    def close(self) -> None:
        """Free the model."""
        self._binding = None
        self._session = None


class OrtCpu:
    """ONNX Runtime's CPU execution provider."""

    name = "ort-cpu"
    precisions: tuple[str, ...] = ("fp32",)

    def missing(self) -> str | None:
        """None if onnxruntime can be imported."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "onnxruntime is not installed: pip install 'nascli[cpu]'"
        return None

    def version(self) -> str:
        """Version of the installed onnxruntime."""
        for package in ("onnxruntime", "onnxruntime-gpu"):
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        raise missing_package("onnxruntime", "cpu", "measuring on the CPU")

    def load(self, model: bytes, options: RuntimeOptions) -> OrtCpuSession:
        """Load a model.

        Raises:
            DeviceError: a model that ONNX Runtime refuses.
        """
        if self.missing() is not None:
            raise missing_package("onnxruntime", "cpu", "measuring on the CPU")
        return OrtCpuSession(model, options)
