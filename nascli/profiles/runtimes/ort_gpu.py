"""ONNX Runtime on NVIDIA cards: the CUDA and the TensorRT execution provider.

A run is timed on the host until the card is done, with inputs and outputs bound to the card: the latency that a program
sees which calls ONNX Runtime. A node that the provider does not support would silently run on the CPU; that is
forbidden, and the providers in force are checked.
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError, ModelRefusedError, Remedy, missing_package
from nascli.paths import home
from nascli.profiles.cuda.base import means_lost_card
from nascli.profiles.devices.device import Device
from nascli.profiles.runtimes.base import Burst, NodeTime, Runtime, RuntimeOptions
from nascli.profiles.runtimes.inputs import EXTENDED_TYPES, fitting_values, input_values, model_input
from nascli.profiles.runtimes.ort_package import onnxruntime_package
from nascli.profiles.runtimes.ort_values import inputs_of, to_ort_value, type_name
from nascli.profiles.runtimes.packages import (
    TENSORRT_PACKAGES,
    installed_version,
    linked_major,
    package_folder,
)

WARMUP_SECONDS = 0.2
TENSORRT_PRECISIONS: Mapping[str, str] = MappingProxyType(
    {"fp32": "fp32", "tf32": "fp32", "fp16": "fp16", "int8": "int8-symmetric"}
)


def check_provider(wanted: str, actual: Iterable[str]) -> None:
    """Refuse a session that fell back to another provider.

    Args:
        wanted: The provider that was asked for.
        actual: The providers of the session, in the order in which they are used.

    Raises:
        DeviceError: The first provider is not the wanted one.
    """
    first = next(iter(actual), None)
    if first != wanted:
        raise DeviceError(
            f"ONNX Runtime fell back from {wanted} to {first or 'nothing'}.",
            "Its libraries cannot be loaded or do not fit the driver. See which.",
            Remedy(job="run_checks"),
        )


class OrtGpuSession:
    """A model on a card, with inputs and outputs bound there.

    Args:
        model: The bytes of an ONNX model without open sizes, with inputs and outputs of numpy's types.
        provider: The execution provider's name.
        settings: The execution provider's options.
        options: How to run the model.

    Raises:
        ModelRefusedError: The provider refuses the model, or the card has no room for it.
        DeviceError: The provider cannot be loaded, fell back to another one, or the card failed.
    """

    def __init__(
        self, model: bytes, provider: str, settings: dict[str, str], options: RuntimeOptions
    ) -> None:
        ort = onnxruntime_package()

        if hasattr(ort, "preload_dlls"):
            # The loader does not search the folders into which pip installs CUDA and cuDNN.
            ort.preload_dlls()
        session_options = ort.SessionOptions()
        session_options.log_severity_level = 3
        session_options.intra_op_num_threads = options.threads
        session_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session: Any = ort.InferenceSession(
                model,
                session_options,
                providers=[(provider, settings)],
                # The fallback of the Python package would try again on the CPU, and print to stdout.
                enable_fallback=0,
            )
        except Exception as error:
            raise loading_error(provider, error) from error
        check_provider(provider, self._session.get_providers())
        self._inputs = inputs_of(self._session)
        values = input_values(self._inputs, options.integer_range, options.inputs)
        try:
            self._bind(ort, values, options)
        except DeviceError:
            raise
        except Exception as error:
            raise loading_error(provider, error) from error

    def _bind(self, ort: Any, values: Mapping[str, npt.NDArray[Any]], options: RuntimeOptions) -> None:
        """Put inputs and outputs on the card, and run once, since the first run allocates the workspace."""
        self._binding: Any = self._session.io_binding()
        self._values: dict[str, Any] = {}
        for one in self._inputs:
            if one.dtype.hasobject or one.type_name in EXTENDED_TYPES:
                raise ModelRefusedError(f"the input {one} cannot be put on a card from Python.")
            value = self._values[one.name] = to_ort_value(one, values[one.name], "cuda", options.ordinal)
            self._binding.bind_ortvalue_input(one.name, value)
        self._results: dict[str, Any] = {}
        for output in self._session.get_outputs():
            # Outputs are like inputs here: tensors whose sizes are known.
            result = model_input(
                output.name, type_name(output.type), output.shape, output.type, what="output"
            )
            if result.dtype.hasobject or result.type_name in EXTENDED_TYPES:
                raise ModelRefusedError(f"the output {result} cannot be taken from a card into Python.")
            # Allocated once: a CUDA graph writes to the address that it was captured with.
            self._results[result.name] = ort.OrtValue.ortvalue_from_shape_and_type(
                list(result.shape), result.dtype.type, "cuda", options.ordinal
            )
            self._binding.bind_ortvalue_output(result.name, self._results[result.name])
        self._once()

    def _once(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            if not means_lost_card(str(error)):
                raise ModelRefusedError(f"the model cannot run: {error}") from error
            raise DeviceError(
                f"the card failed while a model ran: {error}",
                "What was measured is kept. Look at nvidia-smi, and run the same command again.",
            ) from error

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run the model `runs` times, after `warmup` runs that do not count; each ends when the card is done."""
        for _ in range(warmup):
            self._once()
        nanoseconds = np.empty(runs)
        for index in range(runs):
            start = time.perf_counter_ns()
            self._once()
            nanoseconds[index] = time.perf_counter_ns() - start
        return Burst(nanoseconds * 1e-9)

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output of a model with one floating-point input, for one batch."""
        (one,) = self._inputs
        outputs = self.evaluate({one.name: inputs.astype(one.dtype)})
        return np.asarray(next(iter(outputs.values())), dtype=np.float32)

    def evaluate(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return all outputs of the model by name. The given values stay in place."""
        for name, value in fitting_values(self._inputs, feeds).items():
            self._values[name].update_inplace(value)
        self._once()
        return {name: np.array(result.numpy()) for name, result in self._results.items()}

    def notes(self) -> dict[str, Any]:
        """Return no notes, since ONNX Runtime does not report what it fused."""
        return {}

    def close(self) -> None:
        """Free the model."""
        self._binding = None
        self._values, self._results = {}, {}
        self._session = None


def loading_error(provider: str, error: Exception) -> DeviceError:
    """Return the error to raise when ONNX Runtime could not load a model.

    Args:
        provider: The execution provider's name.
        error: What ONNX Runtime raised.

    Returns:
        A ModelRefusedError if only this model is affected, else a DeviceError.
    """
    text = str(error)
    if "no kernel image" in text:
        return DeviceError(
            f"this build of ONNX Runtime has no kernels for the card: {text}",
            "Cards before Turing need a build for CUDA 12: pip install 'onnxruntime-gpu[cuda,cudnn]<1.27'",
        )
    if means_lost_card(text):
        return DeviceError(f"the card failed: {text}", "Look at nvidia-smi, and run the same command again.")
    # The last one is what ONNX Runtime reports for a provider that cannot be loaded if the fallback is forbidden.
    provider_not_loaded = (
        "cannot open shared object",
        "Failed to load",
        "fallback to CPU EP has been explicitly disabled",
    )
    if any(part in text for part in provider_not_loaded):
        return DeviceError(
            f"ONNX Runtime cannot load {provider}: {text}", "See what is missing.", Remedy(job="run_checks")
        )
    return ModelRefusedError(f"{provider} refuses the model: {text}")


def _provider_file(name: str) -> Path | None:
    folder = package_folder("onnxruntime")
    return None if folder is None else folder / "capi" / f"libonnxruntime_providers_{name}.so"


class _OrtGpu(ABC):
    name: str
    precisions: Mapping[str, str]
    warmup_seconds = WARMUP_SECONDS
    modes: tuple[str, ...] = ("cuda_graph",)
    _provider: str
    _file: str

    def missing(self) -> str | None:
        """Return None if onnxruntime-gpu has this provider and its libraries fit, else what to do."""
        file = _provider_file(self._file)
        if file is None:
            return "onnxruntime-gpu is not installed: pip install 'nascli[gpu]'"
        if not file.is_file():
            if installed_version("onnxruntime") and installed_version("onnxruntime-gpu"):
                return (
                    "onnxruntime and onnxruntime-gpu are both installed and share a folder, in which the CPU's has "
                    "replaced the other: pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'nascli[gpu]'"
                )
            return (
                "the onnxruntime that is installed has no such provider: "
                "pip uninstall -y onnxruntime && pip install 'nascli[gpu]'"
            )
        return self._libraries(file)

    def _libraries(self, file: Path) -> str | None:
        return None

    def version(self) -> str:
        """Return the version of the installed onnxruntime-gpu.

        Raises:
            RuntimeUnavailableError: onnxruntime-gpu is not installed.
        """
        version = installed_version("onnxruntime-gpu")
        if version is None:
            raise missing_package("onnxruntime-gpu", "gpu", f"measuring with {self.name}")
        return version

    def refuses(self, device: Device) -> str | None:
        """Return None if the build supports the card and the driver supports the build's CUDA, else the reason."""
        if device.card is None:
            return f"{self.name} runs on NVIDIA cards, and {device.key} is not one"
        file = _provider_file("cuda")
        needed = None if file is None else linked_major(file, "libcudart")
        if needed is None:
            return None
        if needed > device.card.cuda[0]:
            return (
                f"this onnxruntime-gpu needs CUDA {needed}, and the driver {device.card.driver} supports "
                f"{device.card.cuda[0]}.{device.card.cuda[1]}: install a newer driver"
            )
        if needed >= 13 and device.card.compute_capability < (7, 5):
            capability = ".".join(map(str, device.card.compute_capability))
            return (
                f"CUDA {needed}, which this onnxruntime-gpu is built on, dropped cards of compute capability "
                f"{capability}: pip install 'onnxruntime-gpu[cuda,cudnn]<1.27'"
            )
        return None

    @abstractmethod
    def _settings(self, options: RuntimeOptions) -> dict[str, str]:
        """Return the options of the execution provider."""

    def load(self, model: bytes, options: RuntimeOptions) -> OrtGpuSession:
        """Load a model onto the card.

        Raises:
            ModelRefusedError: The provider refuses the model, or the card has no room for it.
            DeviceError: The provider is missing, cannot be loaded, or fell back to another one; or the card failed.
        """
        missing = self.missing()
        if missing is not None:
            raise DeviceError(f"{self.name} does not work here: {missing}")
        return OrtGpuSession(model, self._provider, self._settings(options), options)

    def node_times(self, model: bytes, options: RuntimeOptions) -> list[NodeTime] | None:
        """Return None: ONNX Runtime's profiler sees when the host queues a node, and not when the card runs it."""
        return None


class OrtCuda(_OrtGpu):
    """ONNX Runtime's CUDA execution provider."""

    name = "ort-cuda"
    auto_rank = 30
    precisions: Mapping[str, str] = MappingProxyType({"fp32": "fp32", "tf32": "fp32", "fp16": "fp16"})
    _provider = "CUDAExecutionProvider"
    _file = "cuda"

    def _settings(self, options: RuntimeOptions) -> dict[str, str]:
        return {
            "device_id": str(options.ordinal),
            "use_tf32": "1" if options.precision == "tf32" else "0",
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "enable_cuda_graph": "1" if options.cuda_graph else "0",
        }


class OrtTensorrt(_OrtGpu):
    """ONNX Runtime's TensorRT execution provider. A model with a node that TensorRT does not support is refused."""

    name = "ort-tensorrt"
    auto_rank = 20
    precisions: Mapping[str, str] = TENSORRT_PRECISIONS
    _provider = "TensorrtExecutionProvider"
    _file = "tensorrt"

    def _libraries(self, file: Path) -> str | None:
        linked = linked_major(file, "libnvinfer")
        version = tensorrt_version()
        if version is None:
            return f"ONNX Runtime's provider needs TensorRT {linked}: pip install 'tensorrt=={linked}.*'"
        if linked is not None and int(version.split(".")[0]) != linked:
            return (
                f"ONNX Runtime's provider is linked against TensorRT {linked}, and TensorRT {version} is "
                f"installed: pip install 'tensorrt=={linked}.*', or use the runtime tensorrt"
            )
        return None

    def _settings(self, options: RuntimeOptions) -> dict[str, str]:
        if options.precision == "fp32" and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
            # The provider has no option for TF32, and TensorRT uses it by default.
            raise DeviceError(
                "TensorRT computes fp32 models in TF32 where the card can, unless it is told not to.",
                "Run with NVIDIA_TF32_OVERRIDE=0, or say what it is.",
                Remedy(arguments={"precision": "tf32"}),
            )
        folder = home() / "tensorrt" / f"ort-{super().version()}-{tensorrt_version()}"
        folder.mkdir(parents=True, exist_ok=True)
        return {
            "device_id": str(options.ordinal),
            "trt_fp16_enable": "1" if options.precision == "fp16" else "0",
            "trt_int8_enable": "1" if options.precision == "int8" else "0",
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(folder),
            "trt_cuda_graph_enable": "1" if options.cuda_graph else "0",
        }

    def refuses(self, device: Device) -> str | None:
        """Return None if ONNX Runtime and TensorRT support the card, else the reason."""
        reason = super().refuses(device)
        if reason is not None or device.card is None:
            return reason
        return tensorrt_refuses(device, tensorrt_version())

    def version(self) -> str:
        """Return the versions of onnxruntime-gpu and of TensorRT, which chooses the kernels."""
        return f"{super().version()} with tensorrt {tensorrt_version() or 'unknown'}"


def tensorrt_version() -> str | None:
    """Return the version of the installed TensorRT; None if there is none."""
    return next((version for version in map(installed_version, TENSORRT_PACKAGES) if version), None)


def tensorrt_refuses(device: Device, version: str | None = None) -> str | None:
    """Return the reason why TensorRT does not support a card; None if it does, or on a CPU.

    TensorRT 10 needs compute capability 7.0, and from version 10.5 on 7.5 (TensorRT's support matrices).

    Args:
        device: The device.
        version: The version of TensorRT. If it is None, only cards that no version supports are refused.
    """
    if device.card is None:
        return None
    capability = device.card.compute_capability
    shown = ".".join(map(str, capability))
    if capability < (7, 0):
        return (
            f"TensorRT 10 and later do not support compute capability {shown} ({device.title}): "
            "use the runtime ort-cuda"
        )
    numbers = [int(part) for part in (version or "").split(".")[:2] if part.isdigit()]
    if len(numbers) == 2 and capability < (7, 5) and tuple(numbers) >= (10, 5):
        return (
            f"TensorRT {version} does not support compute capability {shown} ({device.title}): "
            "pip install 'tensorrt<10.5', or use the runtime ort-cuda"
        )
    return None


RUNTIMES: tuple[Runtime, ...] = (
    OrtTensorrt(),
    OrtCuda(),
)
