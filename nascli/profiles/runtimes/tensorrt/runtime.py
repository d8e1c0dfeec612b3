"""TensorRT without ONNX Runtime: engines are built from ONNX models and timed by events on the card."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError, ModelRefusedError, NascliError, Remedy
from nascli.profiles.cuda.base import Driver, Memory, Stream
from nascli.profiles.cuda.registry import choose_driver, open_driver
from nascli.profiles.cuda.timing import time_queries
from nascli.profiles.devices.device import Device
from nascli.profiles.runtimes.base import Burst, MemoryCache, NodeTime, RuntimeOptions, TimingCache
from nascli.profiles.runtimes.inputs import ModelInput, fitting_values, input_values, model_input
from nascli.profiles.runtimes.ort_gpu import (
    TENSORRT_PRECISIONS,
    WARMUP_SECONDS,
    tensorrt_refuses,
    tensorrt_version,
)
from nascli.profiles.runtimes.packages import TENSORRT_PACKAGES, installed_version
from nascli.profiles.runtimes.tensorrt.engine import Messages, build, failure, layers_of

# Engines of one model that are timed in turn, since a builder may choose other kernels each time.
ENGINES = 2
# Bytes of rotated inputs: more than the second-level cache of any card so far.
ROTATED_BYTES = 1 << 28
# Addresses of inputs are multiples of this.
_ALIGNMENT = 256
# Maximum number of graphs that are captured of one engine, each with an input of its own.
_MAX_GRAPHS = 16
# Memory for rotated inputs by driver, element type, and size. It is never freed, since engines and graphs hold its
# addresses.
_POOLS: dict[tuple[int, str, int], Memory] = {}


def _rotated(driver: Driver, values: npt.NDArray[Any]) -> list[int]:
    """Return addresses of inputs that together exceed the card's cache.

    They lie in one piece of memory, which all engines with inputs of one type share.
    """
    stride = -(-values.nbytes // _ALIGNMENT) * _ALIGNMENT
    size = max(ROTATED_BYTES, 2 * stride)
    kind = (id(driver), values.dtype.str, size)
    if kind not in _POOLS:
        noise = np.random.default_rng(0).standard_normal(size // values.itemsize, dtype=np.float32)
        memory = driver.allocate(size)
        driver.upload(memory, np.ascontiguousarray(noise.astype(values.dtype)))
        _POOLS[kind] = memory
    return [_POOLS[kind].address + number * stride for number in range(size // stride)]


class _Engine:
    """An engine with its memory on the card."""

    def __init__(
        self, trt: Any, plan: bytes, driver: Driver, stream: Stream, options: RuntimeOptions
    ) -> None:
        messages = Messages(trt)
        self._messages = messages
        self._trt, self._driver, self._stream = trt, driver, stream
        # All three are kept, since an engine must not outlive its runtime, nor a context its engine.
        self._runtime = trt.Runtime(messages.logger)
        self.engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise failure("load the engine", messages.take())
        self._context: Any = self.engine.create_execution_context()
        if self._context is None:
            raise failure("make room for the engine", messages.take())
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        modes = {name: self.engine.get_tensor_mode(name) for name in names}
        self.inputs = tuple(
            self._tensor(name, "input") for name in names if modes[name] == trt.TensorIOMode.INPUT
        )
        self.outputs = tuple(
            self._tensor(name, "output") for name in names if modes[name] == trt.TensorIOMode.OUTPUT
        )
        self._allocated: list[Memory] = []
        self._launches: list[Callable[[Stream], None]] | None = None
        try:
            self._prepare(options)
        except BaseException:
            self.close()
            raise

    def _prepare(self, options: RuntimeOptions) -> None:
        """Put inputs and outputs on the card, and run once."""
        driver = self._driver
        values = input_values(self.inputs, options.integer_range, options.inputs)
        self.places: dict[str, Memory] = {}
        for one in self.inputs:
            self.places[one.name] = self._allocate(values[one.name].nbytes)
            driver.upload(self.places[one.name], values[one.name])
        for one in self.outputs:
            self.places[one.name] = self._allocate(int(np.prod(one.shape)) * one.dtype.itemsize)
        for name, memory in self.places.items():
            self._context.set_tensor_address(name, memory.address)
        # The input whose address consecutive runs change, and the addresses that they read.
        self._rotated_input = self.inputs[0].name if self.inputs else ""
        self._addresses = [self.places[self._rotated_input].address] if self.inputs else [0]
        if options.rotate:
            if [one.dtype.kind for one in self.inputs] != ["f"]:
                raise ModelRefusedError(
                    "inputs are rotated where a model has one floating-point input; this one has "
                    f"{', '.join(map(str, self.inputs)) or 'none'}.",
                    "Leave it out.",
                    Remedy(arguments={"rotate_inputs": None}),
                )
            self._addresses += _rotated(driver, values[self._rotated_input])
        # The first run allocates memory and picks kernels, which a graph must not capture.
        self._execute(self._stream.handle)
        self._stream.synchronise()
        if options.cuda_graph:
            self._launches = self._graphs()

    def _allocate(self, size: int) -> Memory:
        memory = self._driver.allocate(size)
        self._allocated.append(memory)
        return memory

    def _tensor(self, name: str, what: str) -> ModelInput:
        told = self.engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(self._trt.nptype(told)).name
        except TypeError:
            # numpy lacks the type, and so do our copies to and from the card.
            dtype = None
        return model_input(name, dtype, list(self.engine.get_tensor_shape(name)), str(told), what=what)

    def _graphs(self) -> list[Callable[[Stream], None]]:
        launches = []
        for address in self._addresses[:_MAX_GRAPHS]:
            self._use(address)
            launches.append(self._driver.capture(self._execute))
        return launches

    def _use(self, address: int) -> None:
        if self.inputs:
            self._context.set_tensor_address(self._rotated_input, address)

    def _execute(self, handle: int) -> None:
        if not self._context.execute_async_v3(handle):
            raise failure("run the engine", self._messages.take())

    def enqueue(self, number: int) -> None:
        if self._launches is not None:
            self._launches[number % len(self._launches)](self._stream)
            return
        if len(self._addresses) > 1:
            self._use(self._addresses[number % len(self._addresses)])
        self._execute(self._stream.handle)

    def layer_seconds(self) -> dict[str, float]:
        """Return the seconds of each layer by name, from separate runs, since the profiler slows them down."""
        seconds: dict[str, float] = {}
        trt = self._trt

        class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                seconds[layer_name] = ms * 1e-3

        context = self.engine.create_execution_context()
        if context is None:
            raise failure("make room for the engine", self._messages.take())
        profiler = Profiler()
        context.profiler = profiler
        for name, memory in self.places.items():
            context.set_tensor_address(name, memory.address)
        # The first run loads the kernels, so the second one counts.
        for _ in range(2):
            if not context.execute_async_v3(self._stream.handle):
                raise failure("run the engine", self._messages.take())
            self._stream.synchronise()
        return dict(seconds)

    def close(self) -> None:
        # A card that failed may refuse to free memory; that must not hide the first error.
        for memory in self._allocated:
            with suppress(Exception):
                memory.free()
        self._allocated = []
        self._launches = None
        self._context = None
        self.engine = None
        self._runtime = None


class TensorrtSession:
    """Several engines of one model, which are timed in turn.

    Args:
        trt: The TensorRT module.
        plans: The serialised engines.
        driver: The card.
        options: How to run them.

    Raises:
        ModelRefusedError: The card has no room for an engine.
        DeviceError: The card failed.
    """

    def __init__(self, trt: Any, plans: list[bytes], driver: Driver, options: RuntimeOptions) -> None:
        self._trt, self._driver = trt, driver
        self._stream = driver.stream()
        self._engines: list[_Engine] = []
        try:
            for plan in plans:
                self._engines.append(_Engine(trt, plan, driver, self._stream, options))
        except NascliError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise failure("load the engine", str(error)) from error
        self._bursts: list[list[float]] = [[] for _ in plans]
        self._host_bound = 0
        self._next_engine = 0

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run the next engine `runs` times, after `warmup` runs of the same engine that do not count.

        Raises:
            DeviceError: The card failed.
        """
        turn, self._next_engine = self._next_engine, (self._next_engine + 1) % len(self._engines)
        try:
            for number in range(warmup):
                self._engines[turn].enqueue(number)
            self._stream.synchronise()
            queries = time_queries(self._driver, self._stream, self._engines[turn].enqueue, runs)
        except NascliError:
            raise
        except Exception as error:
            raise DeviceError(
                f"the card failed while a model ran: {error}",
                "What was measured is kept. Look at nvidia-smi, and run the same command again.",
            ) from error
        self._bursts[turn].append(float(np.median(queries.seconds)))
        self._host_bound += queries.host_bound
        return Burst(queries.seconds)

    def run(self, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the first output of a model with one floating-point input, for one batch."""
        (one,) = self._engines[0].inputs
        outputs = self.evaluate({one.name: inputs.astype(one.dtype)})
        return np.asarray(next(iter(outputs.values())), dtype=np.float32)

    def evaluate(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return all outputs of the first engine by name. The given values stay in place."""
        first = self._engines[0]
        for name, value in fitting_values(first.inputs, feeds).items():
            self._driver.upload(first.places[name], value)
        first.enqueue(0)
        self._stream.synchronise()
        results = {}
        for one in first.outputs:
            results[one.name] = np.empty(one.shape, dtype=one.dtype)
            self._driver.download(first.places[one.name], results[one.name])
        return results

    def notes(self) -> dict[str, Any]:
        """Return what is known about the engines as a JSON document.

        It contains the layers of the first engine and their seconds, the median seconds of each engine (builds), the
        relative difference between the slowest and the fastest (builds_apart), and whether the card waited for the
        host in most bursts (host_bound).
        """
        medians = [float(np.median(bursts)) for bursts in self._bursts if bursts]
        apart = max(medians) / min(medians) - 1 if len(medians) > 1 else 0.0
        return {
            "layers": layers_of(self._trt, self._engines[0].engine),
            "layer_seconds": self.layer_seconds(),
            "builds": medians,
            "builds_apart": apart,
            "host_bound": self._host_bound > sum(map(len, self._bursts)) / 2,
        }

    def layer_seconds(self) -> dict[str, float]:
        """Return the seconds of each layer of the first engine, from runs of their own."""
        return self._engines[0].layer_seconds()

    def close(self) -> None:
        """Free the engines."""
        for engine in self._engines:
            engine.close()
        self._engines = []


class TensorRt:
    """NVIDIA TensorRT 10 or 11."""

    name = "tensorrt"
    auto_rank = 10
    precisions: Mapping[str, str] = TENSORRT_PRECISIONS
    warmup_seconds = WARMUP_SECONDS
    modes: tuple[str, ...] = ("cuda_graph", "rotate")

    def missing(self) -> str | None:
        """Return None if TensorRT and a package for CUDA memory and events are installed, else what is missing."""
        if importlib.util.find_spec("tensorrt") is None:
            return "tensorrt is not installed: pip install 'nascli[tensorrt]'"
        try:
            trt = _tensorrt()
        except Exception as error:
            return f"tensorrt cannot be imported ({error}): pip install --force-reinstall tensorrt"
        if int(str(trt.__version__).split(".")[0]) < 10:
            return f"TensorRT {trt.__version__} is too old: pip install 'tensorrt>=10'"
        try:
            choose_driver()
        except NascliError as error:
            return f"{error.message}: {error.hint}"
        return None

    def refuses(self, device: Device) -> str | None:
        """Return None if TensorRT supports the card and the driver supports TensorRT's CUDA, else the reason."""
        if device.card is None:
            return f"{self.name} runs on NVIDIA cards, and {device.key} is not one"
        return tensorrt_refuses(device, tensorrt_version()) or _cuda_too_new(device)

    def version(self) -> str:
        """Return the version of TensorRT."""
        return tensorrt_version() or str(_tensorrt().__version__)

    def engine(self, model: bytes, cache: TimingCache, ordinal: int = 0, *, tf32: bool = False) -> bytes:
        """Build one engine for a card of this machine.

        Args:
            model: The bytes of an ONNX model.
            cache: What earlier builds learned about kernels; what this one learns is added.
            ordinal: The number that CUDA gives the card in this process.
            tf32: Whether fp32 convolutions may round their inputs to TF32.

        Returns:
            The serialised engine.

        Raises:
            ModelRefusedError: TensorRT cannot build an engine for the model.
            DeviceError: TensorRT cannot start, or the card failed.
        """
        trt = _tensorrt()
        # The card is opened first, since a builder works for the card that is current.
        _driver("auto", ordinal)
        return build(trt, Messages(trt), model, tf32=tf32, cache=cache)

    def load(self, model: bytes, options: RuntimeOptions) -> TensorrtSession:
        """Build engines for a model, and load them onto the card.

        Raises:
            ModelRefusedError: TensorRT cannot build an engine for the model, or the card has no room for it.
            DeviceError: TensorRT cannot start, or the card failed.
        """
        trt = _tensorrt()
        # The card is opened first, since a builder works for the card that is current.
        driver = _driver(options.cuda_driver, options.ordinal)
        messages = Messages(trt)
        tf32 = options.precision == "tf32"
        # Only the first build uses the timing cache. Builds that share one choose the same kernels, which would hide
        # how much builds differ.
        caches = [options.timing_cache, *(MemoryCache() for _ in range(ENGINES - 1))]
        plans = [build(trt, messages, model, tf32=tf32, cache=cache) for cache in caches]
        return TensorrtSession(trt, plans, driver, options)

    def node_times(self, model: bytes, options: RuntimeOptions) -> list[NodeTime] | None:
        """Return the seconds of each layer by TensorRT's own profiler; a layer's name says what it computes.

        Raises:
            ModelRefusedError: TensorRT cannot build an engine for the model, or the card has no room for it.
            DeviceError: TensorRT cannot start, or the card failed.
        """
        session = self.load(model, options)
        try:
            return [NodeTime(name, "", seconds) for name, seconds in session.layer_seconds().items()]
        finally:
            session.close()


def _cuda_too_new(device: Device) -> str | None:
    """Return the reason why the driver does not support the CUDA of the installed TensorRT; None if it does or may."""
    majors = [
        13 if "cu13" in package else 12
        for package in TENSORRT_PACKAGES
        if "cu" in package and installed_version(package)
    ]
    if device.card is None or not majors or min(majors) <= device.card.cuda[0]:
        return None
    return (
        f"the TensorRT that is installed needs CUDA {min(majors)}, and the driver {device.card.driver} supports "
        f"{'.'.join(map(str, device.card.cuda))}: install a newer driver, or "
        f"pip install tensorrt-cu{device.card.cuda[0]}"
    )


@lru_cache(maxsize=1)
def _tensorrt() -> Any:
    return importlib.import_module("tensorrt")


@lru_cache(maxsize=4)
def _driver(name: str, ordinal: int) -> Driver:
    return open_driver(name, ordinal)
