import os
import subprocess
import sys
import time
from datetime import timedelta
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from fakes import FakeNvml
from onnx import TensorProto, helper

from nascli.errors import DeviceError, ModelRefusedError, NascliError, RuntimeUnavailableError
from nascli.profiles.devices.cards import find_cards
from nascli.profiles.devices.device import device_of_card, this_cpu
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes import openvino as module
from nascli.profiles.runtimes.base import NodeTime, RuntimeOptions
from nascli.profiles.runtimes.openvino import OpenVino, check_compiled, layer_times
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces.operators.inverted_residual import mbconv

BLOCK = mbconv((16, 14, 14), 24, kernel=5, act="swish").program

SENDS_NOTHING = """
import sys
seen = []
sys.addaudithook(lambda event, args: seen.append(event) if event.startswith(("socket.", "subprocess.", "os.fork")) else None)
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.openvino import OpenVino
from nascli.spaces.operators.inverted_residual import mbconv
model = onnx_bytes(mbconv((8, 8, 8), 8).program, 1)
session = OpenVino().load(model, RuntimeOptions())
session.evaluate({}); session.time(2); session.notes(); session.close()
OpenVino().node_times(model, RuntimeOptions())
assert OpenVino().precisions and "openvino" in sys.modules
assert "openvino_telemetry" not in sys.modules
from openvino.tools.ovc import telemetry_utils
assert "stub" in telemetry_utils.tm.__name__, telemetry_utils.tm
assert not seen, seen
"""


def test_nothing_is_sent_anywhere(tmp_path):
    """The package opens no socket and starts no process, and leaves no number of the user's in the home folder."""
    done = subprocess.run(
        [sys.executable, "-c", SENDS_NOTHING],
        env={**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "intel").exists()


def test_with_one_thread_the_caller_does_the_work():
    """What `Burst.waited` rests on: the thread's own clock counts all work, so the rest of the wall clock is waiting."""
    session = OpenVino().load(onnx_bytes(mbconv((32, 28, 28), 32).program, 4), RuntimeOptions())
    session.time(5)
    own, process = time.thread_time(), time.process_time()
    burst = session.time(40)
    own, process = time.thread_time() - own, time.process_time() - process
    assert own > 0.9 * process
    assert burst.waited is not None and burst.seconds.sum() == pytest.approx(own, rel=0.1)
    session.close()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_with_more_threads_nothing_is_subtracted():
    session = OpenVino().load(onnx_bytes(BLOCK, 2), RuntimeOptions(threads=2))
    assert session.time(3).waited is None
    session.close()


def test_it_computes_what_onnx_runtime_computes():
    model = onnx_bytes(BLOCK, 2)
    outputs = []
    for runtime in (OrtCpu(), OpenVino()):
        session = runtime.load(model, RuntimeOptions())
        outputs.append(session.evaluate({}))
        session.close()
    assert outputs[0].keys() == outputs[1].keys()
    for name, expected in outputs[0].items():
        assert np.abs(outputs[1][name] - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precisions_are_used_and_near(precision):
    if precision not in OpenVino().precisions:
        pytest.skip(f"this CPU does not compute in {precision}")
    model = onnx_bytes(BLOCK, 2)
    full, half = (OpenVino().load(model, RuntimeOptions(precision=name)) for name in ("fp32", precision))
    expected, got = (next(iter(session.evaluate({}).values())) for session in (full, half))
    apart = np.abs(got - expected).max() / np.abs(expected).max()
    assert 1e-5 < apart < 0.05
    assert {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision] in " ".join(
        half.notes()["layers"]
    ).lower()


def test_integer_models_run_in_integers():
    layers = [
        OpenVino().load(onnx_bytes(mbconv((16, 14, 14), 16).program, 2, precision=form), RuntimeOptions(precision=form)).notes()["layers"]
        for form in ("fp32", "int8")
    ]  # fmt: skip
    kernels = [{layer.lower() for layer in found if layer.startswith("Convolution")} for found in layers]
    assert kernels[0] and not any(kernel.endswith("8") for kernel in kernels[0])
    assert kernels[1] and all(kernel.endswith("8") for kernel in kernels[1])


def test_what_it_compiled_for_is_checked():
    check_compiled(RuntimeOptions(threads=2, precision="int8"), "f32", 2)
    with pytest.raises(DeviceError, match="computes in bf16 on this CPU, and not in fp16") as caught:
        check_compiled(RuntimeOptions(precision="fp16"), "bf16", 1)
    assert not isinstance(caught.value, ModelRefusedError)
    with pytest.raises(DeviceError, match="uses 2 threads on this CPU, and not 8"):
        check_compiled(RuntimeOptions(threads=8), "f32", 2)
    with pytest.raises(DeviceError, match="threads on this CPU"):
        OpenVino().load(onnx_bytes(BLOCK, 1), RuntimeOptions(threads=4096))


def test_a_precision_that_the_cpu_lacks_is_not_offered(monkeypatch):
    monkeypatch.setattr(
        module, "_core", lambda: SimpleNamespace(get_property=lambda device, key: ["FP32", "FP16", "INT8"])
    )
    assert dict(OpenVino().precisions) == {"fp32": "fp32", "fp16": "fp32", "int8": "int8"}


def test_what_it_says_of_itself(monkeypatch):
    card = device_of_card(find_cards(FakeNvml(["NVIDIA TITAN Xp"], (6, 1)))[0])
    assert OpenVino().refuses(this_cpu()) is None and "is a card" in OpenVino().refuses(card)
    # The settings that could have been chosen otherwise are part of a table's key.
    assert OpenVino().version().endswith("(latency, 1 stream, unpinned)")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module, "installed_version", lambda name: None)
    assert "pip install 'nascli[cpu]'" in OpenVino().missing() and "fp32" in OpenVino().precisions
    for call in (OpenVino().version, lambda: OpenVino().load(b"", RuntimeOptions())):
        with pytest.raises(RuntimeUnavailableError, match="openvino"):
            call()


def layer(name, kind, kernel, microseconds, status="EXECUTED"):
    return SimpleNamespace(
        node_name=name, node_type=kind, exec_type=kernel, real_time=timedelta(microseconds=microseconds),
        status=SimpleNamespace(name=status),
    )  # fmt: skip


def test_layer_times_are_medians_of_what_ran():
    profiles = [
        [layer("x", "Parameter", "unknown", 0, "NOT_RUN"), layer("a", "Convolution", "brgconv", first), layer("b", "Subgraph", "jit", 3)]
        for first in (10, 90, 12)
    ]  # fmt: skip
    assert layer_times(profiles) == [
        NodeTime("a", "Convolution brgconv", pytest.approx(12e-6)), NodeTime("b", "Subgraph jit", pytest.approx(3e-6)),
    ]  # fmt: skip


def model(nodes, inputs, outputs):
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]
    ).SerializeToString()


@pytest.mark.parametrize(
    "kind", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "FLOAT8E4M3FN", "FLOAT8E5M2", "INT8", "UINT8", "INT32", "UINT64", "BOOL"],
)  # fmt: skip
def test_it_takes_and_returns_every_type(kind):
    number = TensorProto.DataType.Value(kind)
    info = [helper.make_tensor_value_info(name, number, (2, 3)) for name in ("x", "y")]
    session = OpenVino().load(
        model([helper.make_node("Identity", ["x"], ["y"])], info[:1], info[1:]), RuntimeOptions()
    )
    assert session.time(2, warmup=1).seconds.min() > 0
    (value,) = session.evaluate({}).values()
    assert value.shape == (2, 3) and len(set(value.ravel().tolist())) > 1
    again = session.evaluate({"x": np.roll(value, 1)})["y"]
    assert again.dtype == value.dtype and np.array_equal(again, np.roll(value, 1))
    # What was fed does not stay.
    assert np.array_equal(session.evaluate({})["y"], value)
    session.close()


def test_inputs_that_nothing_reads_and_outputs_with_several_names():
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in ("unused", "x")]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in ("z", "y", "copy")]
    nodes = [
        helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["z"]),
        helper.make_node("Identity", ["z"], ["copy"]),
    ]  # fmt: skip
    data = model(nodes, inputs, outputs)
    found = []
    for runtime in (OrtCpu(), OpenVino()):
        session = runtime.load(data, RuntimeOptions(inputs={"unused": np.zeros((2, 3), np.float32)}))
        found.append(session.evaluate({"unused": np.ones((2, 3), np.float32)}))
        with pytest.raises(NascliError, match="no input 'other'"):
            session.evaluate({"other": np.ones((2, 3), np.float32)})
    assert list(found[0]) == list(found[1]) == ["z", "y", "copy"]
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])


def test_what_it_refuses_in_one_line():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, 3)) for name in "xy")
    with pytest.raises(ModelRefusedError, match=r"^OpenVINO refuses the model: .*bar\.Foo") as caught:
        OpenVino().load(
            model([helper.make_node("Foo", ["x"], ["y"], domain="bar")], [x], [y]), RuntimeOptions()
        )
    assert "\n" not in caught.value.message and "src/" not in caught.value.message
    texts = [helper.make_tensor_value_info(name, TensorProto.STRING, (2, 3)) for name in "xy"]
    with pytest.raises(ModelRefusedError, match="input x is of the type string"):
        OpenVino().load(
            model([helper.make_node("Identity", ["x"], ["y"])], texts[:1], texts[1:]), RuntimeOptions()
        )
    for damaged in (b"", b"/etc/passwd", onnx_bytes(BLOCK, 1)[:-100]):
        with pytest.raises(ModelRefusedError):
            OpenVino().load(damaged, RuntimeOptions())


def test_half_precision_values_keep_their_bits():
    number = TensorProto.BFLOAT16
    info = [helper.make_tensor_value_info(name, number, (3,)) for name in ("x", "y")]
    session = OpenVino().load(
        model([helper.make_node("Identity", ["x"], ["y"])], info[:1], info[1:]), RuntimeOptions()
    )
    got = session.evaluate({"x": np.array([1.0, -2.5, 1e30], np.float32)})["y"]
    assert got.dtype == ml_dtypes.bfloat16 and got.astype(np.float32)[:2].tolist() == [1.0, -2.5]


def test_a_model_on_which_openvino_crashes_is_refused():
    """A step of 0 makes version 2026.4 write out of bounds; sizes that fit run."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (20, 10, 5))]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.INT64, (1,))
        for name in ("from", "to", "axes", "steps")
    ]
    output = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("a", "b", "c"))]
    data = model([helper.make_node("Slice", ["x", "from", "to", "axes", "steps"], ["y"])], inputs, output)
    fitting = {name: np.array([value]) for name, value in (("from", 2), ("to", 9), ("axes", 0), ("steps", 3))}
    session = OpenVino().load(data, RuntimeOptions(inputs=fitting))
    assert session.evaluate({})["y"].shape == (3, 10, 5)
    session.close()
    try:
        OpenVino().load(data, RuntimeOptions(inputs=fitting | {"steps": np.array([0])})).close()
    except ModelRefusedError as error:
        assert "OpenVINO" in error.message
