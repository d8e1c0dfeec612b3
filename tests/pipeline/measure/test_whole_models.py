from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, floats, saved, transformer_weights

from nascli.commands.hints import error_as_text
from nascli.errors import ArchitectureError, DeviceError, NascliError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store, program_key
from nascli.lut.audit import audit
from nascli.lut.exchange.packs import import_pack, read_pack, read_store, write_pack
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.whole_models import measure_models
from nascli.pipeline.measure.whole_networks import measure_network, measure_sources
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.whole_models import whole_program
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent

QUICK = MeasurementProtocol(target=0.99, min_rounds=3, max_rounds=3, burst_seconds=1e-4, min_runs=2)
SPEC = TargetSpec(batch=4)


@pytest.fixture
def execution(tmp_path):
    return Execution(store=tmp_path / "s.sqlite")


@pytest.fixture
def loaded(monkeypatch):
    """The models that ONNX Runtime loads, and the options."""
    seen = []
    real = OrtCpu.load

    def load(self, data, options):
        seen.append((data, options))
        return real(self, data, options)

    monkeypatch.setattr(OrtCpu, "load", load)
    return seen


def measured(paths, execution, *, spec=SPEC, feed=None, own_batch=True):
    return measure_models(
        paths,
        spec,
        execution,
        feed=feed or ModelFeed(),
        own_batch=own_batch,
        progress=Silent(),
        protocol=QUICK,
    )


def test_the_file_itself_is_timed_and_kept_as_any_operator(tmp_path, execution, loaded):
    path = saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())
    (figure,) = measured([path], execution)
    assert figure.batch == 1 and 0 < figure.measurement.low <= figure.measurement.seconds
    assert figure.to_json()["file"] == str(path)
    # After the anchor comes the file with its own weights, not folded.
    last = onnx.load_from_string(loaded[-1][0])
    assert len(last.graph.node) == 20
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in last.graph.initializer}
    assert np.array_equal(weights["in_weight"], transformer_weights()["in_weight"])
    program = whole_program(load_model(path))
    with Store(execution.store) as store:
        ((setup, _, count),) = store.setups()
        assert (setup.batch, setup.mode, count) == (1, "", 1)
        label, kept = store.operators(setup)[program_key(program)]
        assert label == "network vit 3x8x8>5x1x1" and kept == program
        assert not [f for f in audit(store, {}) if f.severity == "damage"]
    count_of_loads = len(loaded)
    # Other weights, and other names, are the same network: nothing is loaded again but for the program.
    others = {k: v if v.dtype == np.int64 else v * 2 for k, v in transformer_weights().items()}
    again = saved(tmp_path / "other.onnx", TRANSFORMER.replace("scores", "points"), others)
    assert measured([again], execution)[0].measurement == figure.measurement and len(loaded) == count_of_loads


def test_several_files_and_batches(tmp_path, execution):
    fixed = saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())
    free = saved(tmp_path / "free.onnx", "g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    assert [one.batch for one in measured([free, fixed], execution)] == [4, 1]
    assert [one.batch for one in measured([free, fixed], execution, own_batch=False)] == [4, 4]
    with Store(execution.store) as store:
        macs = {setup.batch: count for setup, _, count in store.setups()}
    assert macs == {1: 1, 4: 2}


def test_sources_of_both_kinds_keep_their_order(tmp_path, execution, tiny, monkeypatch):
    from nascli.spaces import Architecture

    monkeypatch.setattr("nascli.pipeline.measure.whole_networks.MeasurementProtocol", lambda: QUICK)
    Architecture.of(tiny, tiny.sample(1, np.random.default_rng(0))[0], "mine").save(tmp_path / "a.json")
    model_file = saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())
    paths = [tmp_path / "a.json", model_file]
    found = measure_sources(paths, SPEC, execution, feed=ModelFeed(), own_batch=True, progress=Silent())
    assert [one.path for one in found] == paths and [one.batch for one in found] == [4, 1]
    alone = measure_network(model_file, SPEC, execution, progress=Silent(), own_batch=True)
    assert alone == found[1].measurement


WORDS = """g (int64[N,T] words, float[N] gain, bool[N,T] mask) => (float[N,T,4] y, int64[N,T] n, bool[N,T] m) {
    e = Gather (table, words)
    last = Constant <value_ints = [1, 2]> ()
    f = Unsqueeze (gain, last)
    y = Mul (e, f)
    n = Add (words, words)
    m = Not (mask)
}"""


def test_inputs_of_any_type_number_and_value(tmp_path, execution, loaded):
    path = saved(tmp_path / "w.onnx", WORDS, {"table": floats(50, 4)})
    shapes = {"words": (2, 5)}
    measured([path], execution, feed=ModelFeed(shapes))
    assert 1 < loaded[-1][1].inputs["words"].max() < 50
    measured([path], execution, feed=ModelFeed(shapes, (3, 4)))
    assert loaded[-1][1].integer_range == (3, 4) and not loaded[-1][1].inputs
    values = {"words": np.full((2, 5), 49)}
    # Shapes follow from the values.
    measured([path], execution, feed=ModelFeed(values=values))
    assert loaded[-1][1].inputs["words"].max() == 49
    # The anchor gets none of that.
    assert all(not options.inputs for data, options in loaded if b"words" not in data)
    with Store(execution.store) as store:
        assert [setup.mode.split(" ")[0] for setup, _, _ in store.setups()] in (
            ["", "inputs", "integers"], ["", "integers", "inputs"],
        )  # fmt: skip
    with pytest.raises(NascliError, match="no input 'z'"):
        measured([path], execution, feed=ModelFeed(shapes, None, {"z": np.ones(1)}))
    with pytest.raises(NascliError, match="'words'|words .int64"):
        measured([path], execution, feed=ModelFeed(values={"words": np.ones((2, 5), np.float32)}))
    with pytest.raises(ArchitectureError, match="leaves sizes open: NxT"):
        measured([path], execution)


def test_control_flow_is_measured(tmp_path, execution):
    text = """g (float[2,3] x, int64 n) => (float[2,3] y) {
        yes = Constant <value = bool {1}> ()
        y = Loop (n, yes, x) <body = b (int64 i, bool c, float[2,3] s) => (bool c2, float[2,3] s2) {
            c2 = Identity (c)
            s2 = Relu (s)
        }>
    }"""
    path = saved(tmp_path / "loop.onnx", text)
    (figure,) = measured([path], execution)
    assert figure.measurement.seconds > 0
    branch = """g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = a () => (float[2] r) { r = Relu (x) }, else_branch = b () => (float[2] s) { s = Abs (x) }>
    }"""
    assert measured([saved(tmp_path / "if.onnx", branch)], execution)[0].measurement.seconds > 0


def test_operators_that_the_runtime_does_not_know(tmp_path, execution):
    text = "g (float[2,3] x) => (float[2,3] y) { h = mine.Own (x) y = Relu (h) }"
    path = saved(tmp_path / "own.onnx", text, more=', "mine" : 1')
    with pytest.raises(DeviceError, match="mine:Own.*is not a registered") as caught:
        measured([path], execution)
    assert "ONNX does not define node h (mine.Own)." in error_as_text(caught.value)


def _grants_any_memory():
    try:
        return Path("/proc/sys/vm/overcommit_memory").read_text().strip() == "1"
    except OSError:
        return False


@pytest.mark.skipif(_grants_any_memory(), reason="the system grants memory that it does not have")
def test_a_model_that_needs_more_memory_than_there_is(tmp_path, execution):
    text = """g (float[1,1] x) => (float[1,1] y) {
        big = Expand (x, wide)
        y = ReduceMax (big)
    }"""
    path = saved(tmp_path / "big.onnx", text, {"wide": np.array([1 << 18, 1 << 17])})
    with pytest.raises(DeviceError, match="refuses 1 of 1 networks: network big.*(alloc|memory|bytes)"):
        measured([path], execution)


def test_precisions_of_a_file(tmp_path, execution, monkeypatch, loaded):
    path = saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())
    with pytest.raises(ArchitectureError, match="vit is not quantised here") as caught:
        measured([path], execution, spec=replace(SPEC, precision="int8"))
    assert "--precision fp32" in error_as_text(caught.value)
    with pytest.raises(DeviceError, match="measures fp32, int8"):
        measured([path], execution, spec=replace(SPEC, precision="fp17", runtime="ort-cpu"))
    monkeypatch.setattr(OrtCpu, "precisions", {"fp32": "fp32", "fp16": "fp16"})
    measured([path], execution, spec=replace(SPEC, precision="fp16", runtime="ort-cpu"))
    assert {t.data_type for t in onnx.load_from_string(loaded[-1][0]).graph.initializer} == {7, 10}


def test_files_that_are_already_quantised_or_half_are_measured_as_they_are(tmp_path, execution):
    text = """g (float[1,4] x) => (float[1,3] y) {
        q = QuantizeLinear (x, s, zero)
        d = DequantizeLinear (q, s, zero)
        w = DequantizeLinear (w8, s)
        y = MatMul (d, w)
    }"""
    weights = {"s": np.float32(0.1), "zero": np.uint8(128), "w8": np.ones((4, 3), np.int8)}
    half = "g (float16[1,4] x) => (float16[1,3] y) { y = MatMul (x, w) }"
    paths = [
        saved(tmp_path / "q.onnx", text, weights),
        saved(tmp_path / "h.onnx", half, {"w": np.ones((4, 3), np.float16)}),
    ]
    assert all(one.measurement.seconds > 0 for one in measured(paths, execution))


def test_macs_are_kept_beside_the_figure(tmp_path, execution):
    path = saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())
    measured([path], execution)
    with Store(execution.store) as store:
        ((setup, _, _),) = store.setups()
        table = LatencyTable.read(store, setup)
    ((label, macs, params),) = table.labels.values()
    assert macs == TRANSFORMER_MACS and params == sum(
        w.size for w in transformer_weights().values() if w.dtype == np.float32
    )
    assert label.startswith("network vit")


def test_packs_hold_models(tmp_path, execution):
    path = saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())
    (figure,) = measured([path], execution)
    with Store(execution.store) as store:
        ((setup, _, _),) = store.setups()
        write_pack(read_store(store, setup), tmp_path / "p.parquet")
    with Store(tmp_path / "other.sqlite") as other:
        import_pack(read_pack(tmp_path / "p.parquet"), other)
        found = LatencyTable.read(other, setup).lookup(whole_program(load_model(path)))
    assert found == figure.measurement
