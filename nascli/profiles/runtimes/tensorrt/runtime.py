"""TensorRT itself, without ONNX Runtime: engines built from our ONNX bytes, timed by events on the card."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError, NascliError
from nascli.profiles.cuda.base import Driver, Memory, Stream
from nascli.profiles.cuda.registry import choose_driver, open_driver
from nascli.profiles.cuda.timing import time_queries
from nascli.profiles.devices.device import Device
from nascli.profiles.runtimes.base import Burst, MemoryCache, RuntimeOptions, TimingCache
from nascli.profiles.runtimes.ort_gpu import (
    TENSORRT_PRECISIONS,
    WARMUP_SECONDS,
    tensorrt_refuses,
    tensorrt_version,
)
from nascli.profiles.runtimes.packages import TENSORRT_PACKAGES, installed_version
from nascli.profiles.runtimes.tensorrt.engine import Messages, build, failure, layers_of

# Engines of one model that are timed in turn: a builder may choose other kernels each time.
ENGINES = 2
# More than the second-level cache of any card so far.
ROTATED_BYTES = 1 << 28
# Addresses on the card are multiples of this.
_ALIGNED = 256
# Graphs that are captured of one engine, each with an input of its own.
_MOST_GRAPHS = 16


def _rotated(driver: Driver, values: npt.NDArray[Any]) -> list[int]:
    """Addresses of inputs that no cache holds together, in one piece of memory that all engines of a kind share."""
    stride = -(-values.nbytes // _ALIGNED) * _ALIGNED
    size = max(ROTATED_BYTES, 2 * stride)
    kind = (id(driver), values.dtype.str, size)
    if kind not in _POOLS:
        noise = np.random.default_rng(0).standard_normal(size // values.itemsize, dtype=np.float32)
        memory = driver.allocate(size)
        driver.upload(memory, np.ascontiguousarray(noise.astype(values.dtype)))
        _POOLS[kind] = memory
    return [_POOLS[kind].address + number * stride for number in range(size // stride)]


# Memory that is read in rotation, by driver, element type and size; one for all inputs but the largest. Kept as long as
# the process, since engines and graphs hold addresses in it.
_POOLS: dict[tuple[int, str, int], Memory] = {}


class _Engine:
    """An engine with its memory on the card."""

    def __init__(
        self, trt: Any, plan: bytes, driver: Driver, stream: Stream, options: RuntimeOptions
    ) -> None:
        messages = Messages(trt)
        self._messages = messages
        self._trt, self._driver, self._stream = trt, driver, stream
        # All are kept: an engine must not outlive its runtime, nor a context its engine.
        self._runtime = trt.Runtime(messages.logger)
        self.engine: Any = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise failure("load the engine", messages.take())
        self._context: Any = self.engine.create_execution_context()
        if self._context is None:
            raise failure("make room for the engine", messages.take())
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        modes = {name: self.engine.get_tensor_mode(name) for name in names}
        (self.input,) = (name for name in names if modes[name] == trt.TensorIOMode.INPUT)
        (self.output,) = (name for name in names if modes[name] == trt.TensorIOMode.OUTPUT)
        self._held: list[Memory] = []
        self._launches: list[Callable[[Stream], None]] | None = None
        try:
            self._prepare(options)
        except BaseException:
            self.close()
            raise

    def _prepare(self, options: RuntimeOptions) -> None:
        """Put inputs and outputs on the card, and run once."""
        driver = self._driver
        values = np.random.default_rng(0).standard_normal(self.shape(self.input), dtype=np.float32)
        typed = np.ascontiguousarray(values.astype(self.dtype(self.input)))
        own = self._memory(typed.nbytes)
        driver.upload(own, typed)
        self.first_input = own
        # What is read after one another; the session's own input comes first.
        self.inputs = [own.address]
        if options.rotate:
            self.inputs += _rotated(driver, typed)
        out_shape = self.shape(self.output)
        self.result = self._memory(int(np.prod(out_shape)) * np.dtype(self.dtype(self.output)).itemsize)
        self._context.set_tensor_address(self.output, self.result.address)
        self._context.set_tensor_address(self.input, self.inputs[0])
        # The first run allocates and picks kernels, which a graph must not capture.
        self._execute(self._stream.handle)
        self._stream.synchronise()
        if options.cuda_graph:
            self._launches = self._graphs()

    def _memory(self, size: int) -> Memory:
        memory = self._driver.allocate(size)
        self._held.append(memory)
        return memory

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(int(size) for size in self.engine.get_tensor_shape(name))

    def dtype(self, name: str) -> Any:
        return self._trt.nptype(self.engine.get_tensor_dtype(name))

    def _graphs(self) -> list[Callable[[Stream], None]]:
        launches = []
        for address in self.inputs[:_MOST_GRAPHS]:
            self._context.set_tensor_address(self.input, address)
            launches.append(self._driver.capture(self._execute))
        return launches

    def _execute(self, handle: int) -> None:
        if not self._context.execute_async_v3(handle):
            raise failure("run the engine", self._messages.take())

    def enqueue(self, number: int) -> None:
        if self._launches is not None:
            self._launches[number % len(self._launches)](self._stream)
            return
        if len(self.inputs) > 1:
            self._context.set_tensor_address(self.input, self.inputs[number % len(self.inputs)])
        self._execute(self._stream.handle)

    def layer_seconds(self) -> dict[str, float]:
        """Seconds of each layer, in a run of its own: the profiler slows the whole down."""
        found: dict[str, float] = {}
        trt = self._trt

        class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.IProfiler.__init__(self)

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                found[layer_name] = ms * 1e-3

        context = self.engine.create_execution_context()
        if context is None:
            raise failure("make room for the engine", self._messages.take())
        profiler = Profiler()
        context.profiler = profiler
        context.set_tensor_address(self.input, self.inputs[0])
        context.set_tensor_address(self.output, self.result.address)
        # The second run counts: the first one loads the kernels.
        for _ in range(2):
            if not context.execute_async_v3(self._stream.handle):
                raise failure("run the engine", self._messages.take())
            self._stream.synchronise()
        return dict(found)

    def close(self) -> None:
        # A card that failed may not take memory back; what is measured elsewhere goes on.
        for memory in self._held:
            with suppress(Exception):
                memory.free()
        self._held = []
        self._launches = None
        self._context = None
        self.engine = None
        self._runtime = None


class TensorrtSession:
    """Some engines of one model, timed in turn."""

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
        self._turn = 0

    def time(self, runs: int, warmup: int = 0) -> Burst:
        """Run `runs` times on the next engine, after `warmup` runs on the same one."""
        turn, self._turn = self._turn, (self._turn + 1) % len(self._engines)
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
        """The first engine's output for one batch."""
        engine = self._engines[0]
        typed = np.ascontiguousarray(inputs.astype(engine.dtype(engine.input)))
        self._driver.upload(self._engines[0].first_input, typed)
        engine.enqueue(0)
        self._stream.synchronise()
        result = np.empty(engine.shape(engine.output), dtype=engine.dtype(engine.output))
        self._driver.download(engine.result, result)
        return np.asarray(result, dtype=np.float32)

    def notes(self) -> dict[str, Any]:
        """Which layers the engine has, what each takes, how far the builds are apart, and who waited."""
        medians = [float(np.median(bursts)) for bursts in self._bursts if bursts]
        apart = max(medians) / min(medians) - 1 if len(medians) > 1 else 0.0
        return {
            "layers": layers_of(self._trt, self._engines[0].engine),
            "layer_seconds": self._engines[0].layer_seconds(),
            "builds": medians,
            "builds_apart": apart,
            "host_bound": self._host_bound > sum(map(len, self._bursts)) / 2,
        }

    def close(self) -> None:
        """Free the engines."""
        for engine in self._engines:
            engine.close()
        self._engines = []


class TensorRt:
    """NVIDIA TensorRT 10 or 11."""

    name = "tensorrt"
    precisions: Mapping[str, str] = TENSORRT_PRECISIONS
    warmup_seconds = WARMUP_SECONDS
    modes: tuple[str, ...] = ("cuda_graph", "rotate")

    def missing(self) -> str | None:
        """None if TensorRT can be imported and something provides CUDA memory and events."""
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
        """None if TensorRT serves the card's generation."""
        if device.card is None:
            return f"{self.name} runs on NVIDIA cards, and {device.key} is none"
        return tensorrt_refuses(device, tensorrt_version()) or _cuda_too_new(device)

    def version(self) -> str:
        """Version of TensorRT."""
        return tensorrt_version() or str(_tensorrt().__version__)

    def engine(self, model: bytes, cache: TimingCache, ordinal: int = 0, *, tf32: bool = False) -> bytes:
        """One engine for a card that is here, as bytes to keep.

        Raises:
            ModelRefusedError: TensorRT has no kernels for the model.
        """
        trt = _tensorrt()
        # Opened first, since a builder works for the card that is current.
        _driver("auto", ordinal)
        return build(trt, Messages(trt), model, tf32=tf32, cache=cache)

    def load(self, model: bytes, options: RuntimeOptions) -> TensorrtSession:
        """Build engines for a model and load them onto the card.

        Raises:
            ModelRefusedError: TensorRT has no kernels for it, or the card no room.
            DeviceError: the card failed.
        """
        trt = _tensorrt()
        # Opened first, since a builder works for the card that is current.
        driver = _driver(options.cuda_driver, options.ordinal)
        messages = Messages(trt)
        tf32 = options.precision == "tf32"
        # The first build uses what is known of kernels; the others find out anew, since two builds that
        # read one timing cache choose alike, and how far builds differ would stay hidden.
        caches = [options.timing_cache, *(MemoryCache() for _ in range(ENGINES - 1))]
        plans = [build(trt, messages, model, tf32=tf32, cache=cache) for cache in caches]
        return TensorrtSession(trt, plans, driver, options)


def _cuda_too_new(device: Device) -> str | None:
    """Why the driver cannot serve the CUDA that the installed TensorRT is built on; None if it can, or nobody knows."""
    majors = [
        13 if "cu13" in package else 12
        for package in TENSORRT_PACKAGES
        if "cu" in package and installed_version(package)
    ]
    if device.card is None or not majors or min(majors) <= device.card.cuda[0]:
        return None
    return (
        f"the TensorRT that is installed needs CUDA {min(majors)}, and the driver {device.card.driver} serves "
        f"{'.'.join(map(str, device.card.cuda))}: install a newer driver, or "
        f"pip install tensorrt-cu{device.card.cuda[0]}"
    )


@lru_cache(maxsize=1)
def _tensorrt() -> Any:
    return importlib.import_module("tensorrt")


@lru_cache(maxsize=4)
def _driver(name: str, ordinal: int) -> Driver:
    return open_driver(name, ordinal)
