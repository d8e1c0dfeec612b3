"""The TensorRT runtime against a stand-in for TensorRT: what our code decides, without a card."""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import DEVICE, SimulatedCard

from nascli.errors import DeviceError, ModelRefusedError
from nascli.profiles.measurement import measure_subjects
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.protocol import MeasurementProtocol, Subject
from nascli.profiles.runtimes.base import MemoryCache, RuntimeOptions
from nascli.profiles.runtimes.tensorrt import runtime as module
from nascli.profiles.runtimes.tensorrt.engine import Messages, build, layers_of
from nascli.profiles.runtimes.tensorrt.runtime import ENGINES, TensorRt, TensorrtSession
from nascli.profiles.target import Target
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.testing.recorders import ListRecorder

MODEL = onnx_bytes(mbconv((4, 6, 6), 8).program, 2)
SHAPES = {"input": (2, 4, 6, 6), "output": (2, 8, 6, 6)}


class Blob(bytes):
    pass


class FakeTensorRt:
    """Builds 'engines' that take a known time; complains through the logger as TensorRT does."""

    __version__ = "10.16.1"
    BuilderFlag = SimpleNamespace(TF32="TF32")
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=1)
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    LayerInformationFormat = SimpleNamespace(JSON="json")

    class ILogger:
        Severity = SimpleNamespace(ERROR="error", INTERNAL_ERROR="internal", WARNING="warning")

        def __init__(self):
            pass

    class IProfiler:
        def __init__(self):
            pass

    def __init__(self, card, failures=0, complaint="no kernel", parses=True, room=True):
        self.card, self.failures, self.complaint, self.parses, self.room = (
            card,
            failures,
            complaint,
            parses,
            room,
        )
        self.builds, self.flags, self.addresses, self.caches = 0, [], [], []
        self.seconds = [4e-4, 5e-4]

    def nptype(self, dtype):
        return np.float32

    def Builder(self, logger):
        trt = self

        class Config:
            def set_memory_pool_limit(self, pool, size):
                assert (pool, size) == ("workspace", 1 << 30)

            def set_flag(self, flag):
                trt.flags.append(("set", flag))

            def clear_flag(self, flag):
                trt.flags.append(("clear", flag))

            def create_timing_cache(self, data):
                return None if data == b"of another card" else SimpleNamespace(data=data)

            def set_timing_cache(self, cache, ignore):
                assert ignore is False
                trt.caches.append(cache.data)
                return True

            def get_timing_cache(self):
                return SimpleNamespace(serialize=lambda: Blob(trt.caches[-1] + b"+"))

        class Builder:
            def create_network(self, flags):
                assert flags == 1 << 1
                return object()

            def create_builder_config(self):
                return Config()

            def build_serialized_network(self, network, config):
                assert config.avg_timing_iterations == 8 and config.profiling_verbosity == "detailed"
                trt.builds += 1
                if trt.builds <= trt.failures:
                    logger.log("warning", "just a warning")
                    logger.log("error", trt.complaint)
                    return None
                return Blob(b"engine %d" % trt.builds)

        return Builder()

    def OnnxParser(self, network, logger):
        errors = [] if self.parses else ["unsupported: Foo"]
        return SimpleNamespace(
            parse=lambda data: self.parses, num_errors=len(errors),
            get_error=lambda index: SimpleNamespace(desc=lambda: errors[index]),
        )  # fmt: skip

    def Runtime(self, logger):
        trt = self

        class Context:
            profiler = None

            def set_tensor_address(self, name, address):
                trt.addresses.append((name, address))
                return True

            def execute_async_v3(self, handle):
                if self.profiler is not None:
                    self.profiler.report_layer_time("conv + relu", 0.25)
                return True

        class Engine:
            num_io_tensors = 2

            def __init__(self, number):
                self.number = number

            def get_tensor_name(self, index):
                return ["input", "output"][index]

            def get_tensor_mode(self, name):
                return "in" if name == "input" else "out"

            def get_tensor_shape(self, name):
                return SHAPES[name]

            def get_tensor_dtype(self, name):
                return "float"

            def create_execution_context(self):
                if not trt.room:
                    logger.log("error", "out of memory")
                    return None
                context = Context()
                seconds = trt.seconds[(self.number - 1) % 2]

                def execute(handle):
                    trt.card.truth = lambda now: seconds
                    trt.card.work(0)
                    return Context.execute_async_v3(context, handle)

                context.execute_async_v3 = execute
                return context

            def create_engine_inspector(self):
                document = {"Layers": ["conv + relu", {"Name": "pool"}]}
                return SimpleNamespace(get_engine_information=lambda form: json.dumps(document))

        return SimpleNamespace(deserialize_cuda_engine=lambda plan: Engine(int(plan.split()[1])))


class CardWithMemory(SimulatedCard):
    def __init__(self):
        super().__init__(lambda now: 4e-4)
        self.freed, self.given = [], []

    def allocate(self, size):
        address = 1_000_000 * (1 + len(self.given))
        self.given.append(address)
        return SimpleNamespace(address=address, free=lambda: self.freed.append(address))

    def upload(self, memory, values):
        pass

    def download(self, memory, values):
        values[...] = 1

    def capture(self, enqueue):
        enqueue(9)
        return lambda stream: self.work(0)


@pytest.fixture
def card(monkeypatch):
    card = CardWithMemory()
    original = module.time_queries
    monkeypatch.setattr(module, "time_queries", lambda *a, **k: original(*a, clock=card.clock, **k))
    monkeypatch.setattr(module, "_driver", lambda name, ordinal: card)
    return card


def load(monkeypatch, card, options=None, **values):
    trt = FakeTensorRt(card, **values)
    monkeypatch.setattr(module, "_tensorrt", lambda: trt)
    return trt, TensorRt().load(MODEL, options or RuntimeOptions())


def test_engines_are_timed_in_turn_and_their_difference_is_noted(card, monkeypatch):
    trt, session = load(monkeypatch, card)
    assert trt.builds == ENGINES == 2 and isinstance(session, TensorrtSession)
    figures = [float(np.median(session.time(10).seconds)) for _ in range(4)]
    assert figures == pytest.approx([4e-4, 5e-4, 4e-4, 5e-4])
    notes = session.notes()
    assert notes["layers"] == ["conv + relu", "pool"] and notes["layer_seconds"] == {"conv + relu": 2.5e-4}
    assert notes["builds"] == pytest.approx([4e-4, 5e-4]) and notes["builds_apart"] == pytest.approx(0.25)
    assert notes["host_bound"] is False and json.dumps(notes)
    assert session.run(np.zeros(SHAPES["input"], np.float32)).shape == SHAPES["output"]
    session.close()
    assert sorted(card.freed) == sorted(card.given)


def test_fp32_is_not_tf32_and_the_timing_cache_goes_on(card, monkeypatch):
    cache = MemoryCache(b"known")
    trt, session = load(monkeypatch, card, RuntimeOptions(timing_cache=cache))
    assert trt.flags == [("clear", "TF32")] * 2
    # The first build reads what is known, and adds to it; the second finds out anew.
    assert trt.caches == [b"known", b""] and cache.read() == b"known+"
    session.close()
    trt, _ = load(monkeypatch, card, RuntimeOptions(precision="tf32"))
    assert trt.flags == [("set", "TF32")] * 2


def test_a_timing_cache_that_does_not_fit_is_begun_anew(card):
    trt, cache = FakeTensorRt(card), MemoryCache(b"of another card")
    assert build(trt, Messages(trt), MODEL, tf32=False, cache=cache) == b"engine 1"
    assert trt.caches == [b""] and cache.read() == b"+"


def test_a_build_is_tried_again_and_then_the_reason_is_told(card):
    trt = FakeTensorRt(card, failures=2)
    assert build(trt, Messages(trt), MODEL, tf32=False, cache=MemoryCache()) == b"engine 3"
    trt = FakeTensorRt(card, failures=9)
    with pytest.raises(ModelRefusedError, match=r"cannot build an engine: no kernel$"):
        build(trt, Messages(trt), MODEL, tf32=False, cache=MemoryCache())
    assert trt.builds == 3
    trt = FakeTensorRt(card, failures=9, complaint="CUDA: device is lost")
    with pytest.raises(DeviceError, match="the card failed") as caught:
        build(trt, Messages(trt), MODEL, tf32=False, cache=MemoryCache())
    assert not isinstance(caught.value, ModelRefusedError) and trt.builds == 1


def test_what_tensorrt_cannot_read_or_has_no_room_for_is_refused(card, monkeypatch):
    with pytest.raises(ModelRefusedError, match="cannot read the model: unsupported: Foo"):
        load(monkeypatch, card, parses=False)
    with pytest.raises(ModelRefusedError, match="cannot make room for the engine: out of memory"):
        load(monkeypatch, card, room=False)
    assert card.given == []
    # No room for the second engine's result: what the first has is given back.
    plain, given = card.allocate, []

    def little(size):
        if len(given) == 3:
            raise ModelRefusedError("the card has no room for 9 bytes")
        given.append(plain(size))
        return given[-1]

    monkeypatch.setattr(card, "allocate", little)
    with pytest.raises(ModelRefusedError, match="no room"):
        load(monkeypatch, card)
    assert sorted(card.freed) == sorted(card.given) and len(given) == 3


def test_a_builder_that_cannot_start_is_the_machine_s_trouble_and_not_the_model_s(card):
    trt = FakeTensorRt(card)

    def no_builder(logger):
        logger.log("warning", "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    trt.Builder = no_builder
    with pytest.raises(
        DeviceError, match="cannot start: CUDA initialization failure with error: 35"
    ) as caught:
        build(trt, Messages(trt), MODEL, tf32=False, cache=MemoryCache())
    assert not isinstance(caught.value, ModelRefusedError)


def test_the_card_is_chosen_before_anything_is_built(card, monkeypatch):
    trt = FakeTensorRt(card)
    opened = []
    monkeypatch.setattr(module, "_tensorrt", lambda: trt)

    def driver(name, ordinal):
        assert trt.builds == 0
        opened.append(ordinal)
        return card

    monkeypatch.setattr(module, "_driver", driver)
    TensorRt().load(MODEL, RuntimeOptions(ordinal=1)).close()
    trt.builds = 0
    TensorRt().engine(MODEL, MemoryCache(), ordinal=2)
    assert opened == [1, 2]


def test_both_engines_are_measured_by_the_protocol_each_behind_its_own_warm_up(card, monkeypatch):
    """The whole of `measure_subjects` on a simulated card: the figure lies between the two builds, and their difference is known."""
    trt = FakeTensorRt(card)
    monkeypatch.setattr(module, "_tensorrt", lambda: trt)
    taken = []
    original = TensorrtSession.time

    def time_(self, runs, warmup=0):
        taken.append((self, self._next_engine, warmup))
        return original(self, runs, warmup)

    monkeypatch.setattr(TensorrtSession, "time", time_)
    runtime = TensorRt()
    monkeypatch.setattr(TensorRt, "warmup_seconds", 0.0)
    program = mbconv((4, 6, 6), 8).program
    recorder = ListRecorder()
    measure_subjects(
        [Subject("k", "one", program, 1e3)], Target(DEVICE, runtime, RuntimeOptions(), 2),
        MeasurementProtocol(min_rounds=6, max_rounds=6), recorder, rng=np.random.default_rng(0),
    )  # fmt: skip
    samples, notes = recorder.added["k"], recorder.notes["k"]
    figures = [float(np.median(sample.seconds)) for sample in samples]
    assert figures == pytest.approx([5e-4, 4e-4] * 3) and notes["builds_apart"] == pytest.approx(0.25)
    assert {warmup for session, _, warmup in taken if warmup} == {1}


def test_notes_that_cannot_be_taken_cost_no_measurement(card, monkeypatch):
    trt = FakeTensorRt(card)
    monkeypatch.setattr(module, "_tensorrt", lambda: trt)
    monkeypatch.setattr(TensorRt, "warmup_seconds", 0.0)

    def crowded(self):
        raise ModelRefusedError("TensorRT cannot make room for the engine: out of memory")

    monkeypatch.setattr(TensorrtSession, "notes", crowded)
    recorder = ListRecorder()
    measure_subjects(
        [Subject("k", "one", mbconv((4, 6, 6), 8).program, 1e3)], Target(DEVICE, TensorRt(), RuntimeOptions(), 2),
        MeasurementProtocol(min_rounds=3, max_rounds=3), recorder, rng=np.random.default_rng(0),
    )  # fmt: skip
    assert len(recorder.added["k"]) == 3 and "out of memory" in recorder.notes["k"]["incomplete"]


def test_rotated_inputs_are_more_than_a_cache_holds_and_shared_by_engines(card, monkeypatch):
    monkeypatch.setattr(module, "ROTATED_BYTES", 5 * 1280)
    monkeypatch.setattr(module, "_POOLS", {})
    trt, session = load(monkeypatch, card, RuntimeOptions(rotate=True))
    # Inputs of 1,152 bytes at multiples of 256, all in one piece of memory for both engines.
    ((_, _, size), pool), = module._POOLS.items()  # fmt: skip
    assert size == 5 * 1280 and len(card.given) == 2 * 2 + 1
    trt.addresses.clear()
    session.time(12)
    used = [address for name, address in trt.addresses if name == "input"]
    assert len(set(used)) == 6 and used[:6] == used[6:] and all(a != b for a, b in itertools.pairwise(used))
    apart = sorted(a - pool.address for a in set(used) if a >= pool.address)
    assert apart[:5] == [0, 1280, 2560, 3840, 5120]
    session.close()
    assert pool.address not in card.freed
    # Larger inputs have a pool of their own, and the addresses of others stay good.
    large = np.zeros(4 * 1280 // 4, np.float32)
    assert len(module._rotated(card, large)) == 2 and len(module._POOLS) == 2
    assert (
        module._rotated(card, np.zeros(1152 // 4, np.float32))[0] == pool.address
        and pool.address not in card.freed
    )


def test_graphs_are_launched_where_they_are_wanted(card, monkeypatch):
    launched = []
    monkeypatch.setattr(card, "capture", lambda enqueue: lambda stream: (launched.append(1), card.work(0)))
    _, session = load(monkeypatch, card, RuntimeOptions(cuda_graph=True))
    assert session.time(5, warmup=2).seconds.shape == (5,) and len(launched) == 7
    assert RuntimeOptions(cuda_graph=True, clock_mhz=1404).mode == "cuda graph, locked at 1404 MHz"
    assert RuntimeOptions().mode == ""


def test_an_inspector_that_tells_nothing():
    engine = SimpleNamespace(
        create_engine_inspector=lambda: SimpleNamespace(get_engine_information=lambda form: "no json")
    )
    with pytest.raises(DeviceError, match="no list of layers"):
        layers_of(FakeTensorRt(None), engine)


def test_an_engine_that_fails_while_it_is_timed(card, monkeypatch):
    _, session = load(monkeypatch, card)
    monkeypatch.setattr(card, "record", lambda event: 1 / 0)
    with pytest.raises(DeviceError, match="the card failed while a model ran"):
        session.time(3)
