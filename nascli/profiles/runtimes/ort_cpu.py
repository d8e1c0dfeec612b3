"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import ModelRefusedError, missing_package
from nascli.profiles.devices.device import Device
from nascli.profiles.runtimes.base import Burst, NodeTime, Runtime, RuntimeOptions
from nascli.profiles.runtimes.clocks import time_runs
from nascli.profiles.runtimes.inputs import STRING, fitting_values, input_values
from nascli.profiles.runtimes.ort_package import onnxruntime_package
from nascli.profiles.runtimes.ort_profile import parse_profile
from nascli.profiles.runtimes.ort_values import from_ort_value, inputs_of, to_ort_value, type_name

_PROVIDER = "CPUExecutionProvider"
# Runs of a profile; the first ones, which allocate, are left out.
_PROFILE_RUNS, _PROFILE_WARMUP = 12, 2


class OrtCpuSession:
    """A model loaded by ONNX Runtime on the CPU.

    Inputs and outputs are bound once, so that the time of a run contains no copying. A model with strings, which cannot
    be bound, gets its inputs with each run.

    Args:
        model: The bytes of an ONNX model without open sizes.
        options: How to run it; threads and inputs count.
        profile_prefix: Where ONNX Runtime's profiler writes, which slows runs down a little; None leaves it out.

    Raises:
        ModelRefusedError: ONNX Runtime refuses the model.
        NascliError: A value in the options does not fit the model's inputs.
    """

    def __init__(self, model: bytes, options: RuntimeOptions, *, profile_prefix: str | None = None) -> None:
        self._is_single_threaded = options.threads == 1 and hasattr(time, "thread_time_ns")
        self._session: Any = _open_session(model, options, profile_prefix)
        self._inputs = inputs_of(self._session)
        self._outputs = [(one.name, one.type) for one in self._session.get_outputs()]
        kinds = [one.type_name for one in self._inputs] + [type_name(told) for _, told in self._outputs]
        self._can_bind = STRING not in kinds
        self._values = input_values(self._inputs, options.integer_range, options.inputs)
        # What one run calls, and with what.
        self._run: Any
        self._arguments: tuple[Any, ...]
        if self._can_bind:
            self._run, self._arguments = self._session.run_with_iobinding, (self._bind(self._values),)
        else:
            self._run, self._arguments = self._session.run, (None, dict(self._values))

    def _bind(self, values: Mapping[str, npt.NDArray[Any]]) -> Any:
        """Return a binding of inputs and outputs. It lies on top of the values, which must live as long."""
        binding = self._session.io_binding()
        for one in self._inputs:
            binding.bind_ortvalue_input(one.name, to_ort_value(one, values[one.name]))
        for name, _ in self._outputs:
            binding.bind_output(name, "cpu")
        return binding

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run the model `runs` times, after `warmup` runs that do not count.

        With one thread, the difference between the wall clock and the thread's own clock is the time during which the
        thread waited for a core that another process had. That is no cost of the model and is subtracted. With several
        threads it is unknown.
        """
        try:
            return time_runs(partial(self._run, *self._arguments), runs, warmup, self._is_single_threaded)
        except Exception as error:
            raise ModelRefusedError(f"ONNX Runtime cannot run the model: {error}") from error

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output of a model with one floating-point input, for one batch."""
        (one,) = self._inputs
        outputs = self.evaluate({one.name: inputs.astype(one.dtype)})
        return np.asarray(outputs[self._outputs[0][0]], dtype=np.float32)

    def evaluate(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return all outputs of the model by name, each in its own type."""
        values = self._values | fitting_values(self._inputs, feeds)
        try:
            if not self._can_bind:
                outputs = self._session.run(None, values)
                return {
                    name: np.asarray(value) for (name, _), value in zip(self._outputs, outputs, strict=True)
                }
            binding = self._bind(values)
            self._session.run_with_iobinding(binding)
        except ModelRefusedError:
            raise
        except Exception as error:
            raise ModelRefusedError(f"ONNX Runtime cannot run the model: {error}") from error
        return {
            name: from_ort_value(name, told, value)
            for (name, told), value in zip(self._outputs, binding.get_outputs(), strict=True)
        }

    def notes(self) -> dict[str, Any]:
        """Return no notes, since ONNX Runtime does not report what it fused."""
        return {}

    def end_profile(self) -> str:
        """Return what ONNX Runtime's profiler wrote; the session must have been made with a prefix."""
        return Path(self._session.end_profiling()).read_text()

    def close(self) -> None:
        """Free the model."""
        self._run, self._arguments = None, ()
        self._session = None


def _open_session(model: bytes, options: RuntimeOptions, profile_prefix: str | None) -> Any:
    ort = onnxruntime_package()

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # Its errors are raised as well, and need not be written past the caller.
    settings.log_severity_level = 4
    # Many models are loaded while one is timed, so the threads of the others must not keep spinning.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if profile_prefix is not None:
        settings.enable_profiling = True
        settings.profile_file_prefix = profile_prefix
    try:
        # Without a second try, which would be written past the caller.
        return ort.InferenceSession(model, settings, providers=[_PROVIDER], enable_fallback=0)
    except Exception as error:
        raise ModelRefusedError(f"ONNX Runtime refuses the model: {error}") from error


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

    def node_times(self, model: bytes, options: RuntimeOptions) -> list[NodeTime] | None:
        """Return the seconds of each node by ONNX Runtime's own profiler, in a session of its own.

        Raises:
            ModelRefusedError: ONNX Runtime refuses the model.
            NascliError: A value in the options does not fit the model's inputs.
            DeviceError: The profile cannot be read.
        """
        with TemporaryDirectory() as folder:
            session = OrtCpuSession(model, options, profile_prefix=str(Path(folder) / "profile"))
            session.time(_PROFILE_RUNS, warmup=_PROFILE_WARMUP)
            text = session.end_profile()
            session.close()
        return parse_profile(text, _PROFILE_WARMUP + _PROFILE_RUNS, _PROFILE_WARMUP)


RUNTIMES: tuple[Runtime, ...] = (OrtCpu(),)
