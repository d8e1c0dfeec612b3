"""OpenVINO on the CPU.

OpenVINO chooses the precision in which it computes unless it is told: bf16 where the CPU has it. It is told here, and
what it compiled for is read back. The package sends statistics when it is imported (`openvino-telemetry`); here it is
imported without that part.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import onnx

from nascli.errors import DeviceError, ModelRefusedError, Remedy, missing_package
from nascli.profiles.devices.device import Device
from nascli.profiles.runtimes.base import Burst, NodeTime, Runtime, RuntimeOptions
from nascli.profiles.runtimes.clocks import time_runs
from nascli.profiles.runtimes.inputs import (
    EXTENDED_TYPES,
    ModelInput,
    fitting_values,
    input_values,
    model_input,
)
from nascli.profiles.runtimes.packages import installed_version

_TELEMETRY = "openvino_telemetry"
_DEVICE = "CPU"
# The precision hint for each of ours. Integer models carry their integers; what is not quantised in them is in fp32.
_HINTS: Mapping[str, str] = MappingProxyType({"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"})
# What OpenVINO calls a CPU's ability to compute in these; any CPU computes in fp32 and int8.
_CAPABILITIES: Mapping[str, str] = MappingProxyType({"bf16": "BF16", "fp16": "FP16"})
# One request at a time on the threads that the user names, all of which the operating system may place; no
# quantisation that the model does not contain. `OpenVino.version` names what could have been chosen otherwise.
_SETTINGS: Mapping[str, Any] = MappingProxyType(
    {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    }
)
_SETTINGS_IN_WORDS = "latency, 1 stream, unpinned"
# OpenVINO's names of element types. Strings are missing: version 2026.4 corrupts memory when it frees them.
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "f16": "float16", "f32": "float32", "f64": "float64", "bf16": "bfloat16", "boolean": "bool",
        "f8e4m3": "float8_e4m3fn", "f8e5m2": "float8_e5m2",
        "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
        "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
    }
)  # fmt: skip
# Runs of a profile; the first ones, which allocate, are left out.
_PROFILE_RUNS, _PROFILE_WARMUP = 12, 2
_LONGEST_REASON = 400
# Operations that read where a value says, also outside of their input.
_UNCHECKED = ("ROIAlign",)


@lru_cache(maxsize=1)
def _openvino() -> Any:
    """Return the package, imported without its telemetry, which would send an event at once.

    An entry of None makes an import fail, and OpenVINO has a stand-in for a telemetry that is not installed.
    """
    modules = cast(dict[str, Any], sys.modules)
    known = modules.get(_TELEMETRY)
    modules[_TELEMETRY] = None
    try:
        return importlib.import_module("openvino")
    finally:
        del modules[_TELEMETRY]
        if known is not None:
            modules[_TELEMETRY] = known


@lru_cache(maxsize=1)
def _core() -> Any:
    return _openvino().Core()


class OpenVinoSession:
    """A model compiled by OpenVINO for the CPU, with its inputs in place.

    Args:
        model: The bytes of an ONNX model without open sizes.
        options: How to run it; threads, precision, and inputs count.
        profiled: Whether OpenVINO takes the time of each layer, which slows runs down.
        is_trial: Whether this process may crash.

    Raises:
        ModelRefusedError: OpenVINO refuses the model, or crashes on it.
        DeviceError: OpenVINO compiled for another precision or number of threads than it was told.
        NascliError: A value in the options does not fit the model's inputs.
    """

    def __init__(
        self, model: bytes, options: RuntimeOptions, *, profiled: bool = False, is_trial: bool = False
    ) -> None:
        self._works_in_this_thread = options.threads == 1
        self._unused = _UnusedInputs(model)
        read = _read(model)
        self._inputs = tuple(_input_of(port) for port in read.inputs)
        given = self._unused.without(self._inputs, options.inputs)
        self._values = input_values(self._inputs, options.integer_range, given)
        if not is_trial and _may_crash(read):
            _require_survival(model, options, [self._values[one.name] for one in self._inputs])
        self._compiled: Any = _compile(read, options, PERF_COUNT=profiled)
        self._request: Any = self._compiled.create_infer_request()
        self._put(self._values)

    def _put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Let the request read its inputs from these arrays, which must live as long."""
        for index, one in enumerate(self._inputs):
            self._request.set_input_tensor(index, _tensor(one, values[one.name]))

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run the model `runs` times, after `warmup` runs that do not count.

        With one thread OpenVINO works in the calling thread, so what its clock lacks is time that it waited for a core;
        that is subtracted.
        """
        run = partial(self._request.infer, share_outputs=True)
        try:
            return time_runs(run, runs, warmup, self._works_in_this_thread)
        except RuntimeError as error:
            raise ModelRefusedError(f"OpenVINO cannot run the model: {_reason(error)}") from error

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output of a model with one floating-point input, for one batch."""
        (one,) = self._inputs
        outputs = self.evaluate({one.name: inputs.astype(one.dtype)})
        return np.asarray(next(iter(outputs.values())), dtype=np.float32)

    def evaluate(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return all outputs of the model by name, each in its own type."""
        values = self._values | fitting_values(self._inputs, self._unused.without(self._inputs, feeds))
        try:
            self._put(values)
            self._request.infer(share_outputs=True)
            return {
                _name_of(port): _array(port, self._request.get_output_tensor(index))
                for index, port in enumerate(self._compiled.outputs)
            }
        except RuntimeError as error:
            raise ModelRefusedError(f"OpenVINO cannot run the model: {_reason(error)}") from error
        finally:
            self._put(self._values)

    def notes(self) -> dict[str, Any]:
        """Return the layers that OpenVINO made of the model, each with its kernel, such as 'brgconv_avx512_f32'."""
        layers = []
        for node in self._compiled.get_runtime_model().get_ordered_ops():
            told = node.get_rt_info()
            kind, kernel = (told[key].astype(str) for key in ("layerType", "primitiveType"))
            if kind not in ("Const", "Input", "Output"):
                layers.append(f"{kind} {kernel}")
        return {"layers": layers}

    def profile(self) -> list[Any]:
        """Return OpenVINO's `ProfilingInfo` of each layer in the last run of a session that is profiled."""
        return list(self._request.profiling_info)

    def close(self) -> None:
        """Free the model."""
        self._request = self._compiled = None


class OpenVino:
    """OpenVINO's CPU plugin."""

    name = "openvino"
    auto_rank = 5
    warmup_seconds = 0.0
    modes: tuple[str, ...] = ()

    @property
    def precisions(self) -> Mapping[str, str]:
        """The precisions in which this CPU computes; all that any CPU has if OpenVINO is not installed."""
        models = {"fp32": "fp32", "bf16": "fp32", "fp16": "fp32", "int8": "int8"}
        if self.missing() is not None:
            return models
        able = _core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        return {name: model for name, model in models.items() if _CAPABILITIES.get(name, "FP32") in able}

    def missing(self) -> str | None:
        """Return None if openvino is installed, else how to install it."""
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed: pip install 'nascli[cpu]'"
        return None

    def refuses(self, device: Device) -> str | None:
        """Return None on a CPU, else the reason."""
        return None if device.card is None else f"{self.name} runs on the CPU, and {device.key} is a card"

    def version(self) -> str:
        """Return the version of the installed openvino, with the settings that a latency depends on.

        Raises:
            RuntimeUnavailableError: openvino is not installed.
        """
        version = installed_version("openvino")
        if version is None:
            raise missing_package("openvino", "cpu", "measuring with OpenVINO")
        return f"{version} ({_SETTINGS_IN_WORDS})"

    def load(self, model: bytes, options: RuntimeOptions) -> OpenVinoSession:
        """Compile a model.

        Raises:
            ModelRefusedError: OpenVINO refuses the model.
            DeviceError: OpenVINO compiled for another precision or number of threads than it was told.
            NascliError: A value in the options does not fit the model's inputs.
            RuntimeUnavailableError: openvino is not installed.
        """
        if self.missing() is not None:
            raise missing_package("openvino", "cpu", "measuring with OpenVINO")
        return OpenVinoSession(model, options)

    def node_times(self, model: bytes, options: RuntimeOptions) -> list[NodeTime] | None:
        """Return the seconds of each layer, by OpenVINO's own clock, in a model that is compiled for this alone.

        Raises:
            ModelRefusedError: OpenVINO refuses the model.
            DeviceError: OpenVINO compiled for another precision or number of threads than it was told.
            NascliError: A value in the options does not fit the model's inputs.
        """
        session = OpenVinoSession(model, options, profiled=True)
        session.time(_PROFILE_WARMUP)
        profiles = []
        for _ in range(_PROFILE_RUNS):
            session.time(1)
            profiles.append(session.profile())
        session.close()
        return layer_times(profiles)


def layer_times(profiles: Iterable[Iterable[Any]]) -> list[NodeTime]:
    """Return the median seconds of each layer that ran, in the order in which they are listed.

    Args:
        profiles: For each run OpenVINO's `ProfilingInfo` of each layer.
    """
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for profile in profiles:
        for layer in profile:
            if layer.status.name == "EXECUTED":
                kind = f"{layer.node_type} {layer.exec_type}"
                seconds[layer.node_name, kind].append(layer.real_time.total_seconds())
    return [NodeTime(name, kind, float(np.median(times))) for (name, kind), times in seconds.items()]


class _UnusedInputs:
    """Inputs that a model names and nothing in it reads: OpenVINO drops them, and values for them are no mistake."""

    def __init__(self, model: bytes) -> None:
        self._model = model

    def without(
        self, inputs: Iterable[ModelInput], given: Mapping[str, npt.NDArray[Any]]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the given values without those for unused inputs."""
        unknown = given.keys() - {one.name for one in inputs}
        if not unknown:
            return dict(given)
        named = {value.name for value in onnx.load_model_from_string(self._model).graph.input}
        return {name: value for name, value in given.items() if name not in unknown & named}


def _read(model: bytes) -> Any:
    """Return a model as OpenVINO reads it.

    Raises:
        ModelRefusedError: OpenVINO cannot read it.
    """
    try:
        return _core().read_model(model)
    except RuntimeError as error:
        raise ModelRefusedError(f"OpenVINO refuses the model: {_reason(error)}") from error


def _may_crash(read: Any) -> bool:
    """Return whether some value decides sizes or addresses inside of the model, which OpenVINO does not check."""
    return any(
        node.get_type_name() in _UNCHECKED
        or any(output.partial_shape.is_dynamic for output in node.outputs())
        for node in read.get_ops()
    )


def _compile(read: Any, options: RuntimeOptions, **more: Any) -> Any:
    """Return a compiled model, whose precision and threads have been checked.

    Raises:
        ModelRefusedError: OpenVINO refuses the model.
        DeviceError: OpenVINO compiled for another precision or number of threads than it was told.
    """
    settings = {
        **_SETTINGS,
        "INFERENCE_PRECISION_HINT": _HINTS[options.precision],
        "INFERENCE_NUM_THREADS": options.threads,
        **more,
    }
    try:
        compiled = _core().compile_model(read, _DEVICE, settings)
    except RuntimeError as error:
        raise ModelRefusedError(f"OpenVINO refuses the model: {_reason(error)}") from error
    check_compiled(
        options,
        compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
        int(compiled.get_property("INFERENCE_NUM_THREADS")),
    )
    return compiled


def _require_survival(model: bytes, options: RuntimeOptions, values: list[npt.NDArray[Any]]) -> None:
    """Run a model twice in a process of its own, since OpenVINO crashes on some values of sizes and indices.

    Version 2026.4 does so where a step or a size is 0, and where RoIAlign is sent to a sample that is not there.

    Raises:
        ModelRefusedError: The process crashed.
    """
    with TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(model)
        # Types that numpy lacks go through fp32, as given values do.
        plain = [v.astype(np.float32) if v.dtype in EXTENDED_TYPES.values() else v for v in values]
        np.savez(Path(folder) / "values.npz", *plain)
        code = "import sys; from nascli.profiles.runtimes.openvino import run_trial; run_trial(*sys.argv[1:])"
        done = subprocess.run(
            [sys.executable, "-c", code, folder, options.precision, str(options.threads)],
            check=False,
            capture_output=True,
        )
    if done.returncode < 0:
        raise ModelRefusedError(
            "OpenVINO crashes on the model with these inputs: sizes or indices inside of it depend on their values.",
            "Give values that fit, or choose another runtime.",
            Remedy(arguments={"runtime": None}),
        )


def run_trial(folder: str, precision: str, threads: str) -> None:
    """Run a model twice, each time in a session of its own. This is what a trial's process does.

    Args:
        folder: Holds the model, and the values of its inputs in their order.
        precision: As in `RuntimeOptions`.
        threads: As in `RuntimeOptions`.
    """
    model = (Path(folder) / "model.onnx").read_bytes()
    with np.load(Path(folder) / "values.npz", allow_pickle=False) as file:
        arrays = [file[name] for name in file.files]
    names = [_name_of(port) for port in _read(model).inputs]
    options = RuntimeOptions(
        precision=precision, threads=int(threads), inputs=dict(zip(names, arrays, strict=True))
    )
    for _ in range(2):
        session = OpenVinoSession(model, options, is_trial=True)
        session.evaluate({})
        session.time(1)
        session.close()


def check_compiled(options: RuntimeOptions, hint: str, threads: int) -> None:
    """Refuse what OpenVINO compiled for something else than it was told.

    Args:
        options: What it was told.
        hint: The precision hint of the compiled model, in OpenVINO's words.
        threads: The number of threads of the compiled model.

    Raises:
        DeviceError: One of them differs.
    """
    if hint != _HINTS[options.precision]:
        raise DeviceError(
            f"OpenVINO computes in {hint} on this CPU, and not in {options.precision}.",
            "Choose another precision.",
            Remedy(arguments={"precision": None}),
        )
    if threads != options.threads:
        raise DeviceError(
            f"OpenVINO uses {threads} threads on this CPU, and not {options.threads}.",
            "Choose fewer.",
            Remedy(arguments={"threads": threads}),
        )


def _reason(error: Exception) -> str:
    """Return what OpenVINO complains about in one line, without the places in its own source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [
        line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API"))
    ]
    text = " ".join(told or lines)
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."


def _name_of(port: Any) -> str:
    """Return the name that an input or output has in the ONNX model."""
    friendly: str = port.get_node().get_friendly_name().removesuffix("/sink_port_0")
    names: set[str] = port.names
    return friendly if friendly in names or not names else min(names)


def _input_of(port: Any) -> ModelInput:
    """Return an input of a model.

    Raises:
        ModelRefusedError: A size is open, or no values can be made for the type.
    """
    told = port.element_type.get_type_name()
    shape = port.partial_shape
    sizes: list[object] = ["?"]
    if not shape.rank.is_dynamic:
        sizes = [size.get_length() if size.is_static else -1 for size in shape]
    return model_input(_name_of(port), _TYPES.get(told), sizes, told)


def _tensor(one: ModelInput, value: npt.NDArray[Any]) -> Any:
    """Return a tensor on top of an input's value."""
    package = _openvino()
    if one.type_name in EXTENDED_TYPES:
        bits = value.view(np.dtype(f"uint{8 * value.dtype.itemsize}"))
        kind = next(name for name, known in _TYPES.items() if known == one.type_name)
        return package.Tensor(bits, package.Shape(one.shape), getattr(package.Type, kind))
    return package.Tensor(value, shared_memory=True)


def _array(port: Any, tensor: Any) -> npt.NDArray[Any]:
    """Return an output as an array of its own.

    Raises:
        ModelRefusedError: The output's type has no equal in numpy.
    """
    told = port.element_type.get_type_name()
    if told not in _TYPES:
        raise ModelRefusedError(
            f"the model's output {_name_of(port)} is of the type {told}, which numpy lacks."
        )
    values = np.array(tensor.data)
    return values.view(EXTENDED_TYPES[_TYPES[told]]) if _TYPES[told] in EXTENDED_TYPES else values


RUNTIMES: tuple[Runtime, ...] = (OpenVino(),)
