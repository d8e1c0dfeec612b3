import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from simulated_runtimes import install, simulated_runtime

from nascli.errors import DeviceError, NascliError, RuntimeUnavailableError
from nascli.execution import Execution
from nascli.pipeline.measure.every_runtime import (
    compare_runtimes,
    measure_on_every_runtime,
    models_of_file,
    models_of_program,
    output_distance,
)
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces.operators.inverted_residual import mbconv

PROGRAM = mbconv((8, 8, 8), 8).program
QUICK = MeasurementProtocol(target=0.5, min_rounds=3, max_rounds=3)


def compared(models, spec=None, **more):
    return measure_on_every_runtime(
        models, spec or TargetSpec(batch=2), Execution(), protocol=QUICK, progress=Silent(), **more
    )


def test_speeds_and_distances_of_runtimes_that_are_known(monkeypatch):
    install(
        monkeypatch,
        simulated_runtime("slow", {"fp32": 4e-3, "int8": 3e-3}),
        simulated_runtime("quick", {"fp32": 2e-3, "bf16": 1e-3}, {"fp32": [1.0, -2.0], "bf16": [1.02, -2.0]}),
    )
    found = compared(models_of_program(PROGRAM, 2))
    assert [one.name for one in found.contenders] == ["slow fp32", "slow int8", "quick fp32", "quick bf16"]
    assert [one.speed for one in found.contenders] == pytest.approx([1, 4 / 3, 2, 4], rel=1e-3)
    # Integers that were quantised without data say nothing.
    assert [one.distance for one in found.contenders] == [0, None, 0, pytest.approx(0.01)]
    assert found.fastest.name == "quick bf16" and not found.left_out
    assert json.loads(json.dumps(found.to_json()))["fastest"] == {"runtime": "quick", "precision": "bf16"}


def test_what_is_left_out_has_a_reason(monkeypatch, tmp_path):
    install(
        monkeypatch,
        simulated_runtime("a", {"fp32": 4e-3, "int8": 3e-3}),
        simulated_runtime("b", {"fp32": 2e-3}, refused=("fp32",)),
    )
    file = tmp_path / "model.onnx"
    file.write_bytes(onnx_bytes(PROGRAM, 2))
    found = compared(models_of_file(load_model(file)))
    assert [one.name for one in found.contenders] == ["a fp32"]
    assert found.left_out == {"a int8": "the model is not written in int8", "b fp32": "b has no kernel"}


def looking_up(folder):
    """A file with tokens that index a table of 9 rows, and a mask."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["rows"]),
        helper.make_node("Where", ["mask", "rows", "zero"], ["output"]),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, ("n", 5)),
        helper.make_tensor_value_info("mask", TensorProto.BOOL, ("n", 5, 1)),
    ]
    weights = [
        numpy_helper.from_array(np.arange(18, dtype=np.float32).reshape(9, 2), "table"),
        numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "zero"),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ("n", 5, 2))]
    graph = helper.make_graph(nodes, "looking_up", inputs, outputs, weights)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def test_a_file_is_compared_as_it_is(tmp_path):
    found = compare_runtimes(
        looking_up(tmp_path),
        TargetSpec(batch=3),
        Execution(),
        feed=ModelFeed(integer_range=(8, 8)),
        progress=Silent(),
    )
    by_name = {one.name: one for one in found.contenders}
    assert by_name["openvino fp32"].distance == 0 and {one.setup.batch for one in found.contenders} == {3}
    assert found.left_out["ort-cpu int8"] == "the model is not written in int8"
    with pytest.raises(NascliError, match="no input 'words'"):
        compare_runtimes(
            looking_up(tmp_path), TargetSpec(batch=3), Execution(),
            feed=ModelFeed(values={"words": np.zeros((3, 5), np.int64)}, shapes={"tokens": (3, 5), "mask": (3, 5, 1)}),
            progress=Silent(),
        )  # fmt: skip


def test_where_nothing_runs(monkeypatch):
    install(monkeypatch, simulated_runtime("b", {"fp32": 2e-3}, refused=("fp32",)))
    with pytest.raises(
        RuntimeUnavailableError, match="no runtime runs the model on .*b fp32: b has no kernel"
    ):
        compared(models_of_program(PROGRAM, 2))


def test_the_runtimes_that_are_here():
    found = compared(models_of_program(PROGRAM, 2))
    names = [one.name for one in found.contenders]
    assert names[0] == "ort-cpu fp32" and {"openvino fp32", "openvino int8"} <= set(names)
    by_name = {one.name: one for one in found.contenders}
    assert by_name["ort-cpu fp32"].distance == 0 and by_name["openvino fp32"].distance < 1e-4
    assert not any("tensorrt" in name for name in found.left_out)
    with pytest.raises(NascliError, match="no input 'x'"):
        compared(models_of_program(PROGRAM, 2), inputs={"x": np.zeros(3)})


def test_the_word_names_no_single_runtime():
    for word in ("all", "fastest"):
        with pytest.raises(DeviceError, match=f"'{word}' names no runtime"):
            TargetSpec(runtime=word).resolve(Execution())


@pytest.mark.parametrize(
    ("expected", "got", "distance"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0),
        ([1.0, -4.0], [1.5, -4.0], 0.125),
        ([0.0, 0.0], [0.0, 0.0], 0),
        ([0.0, 0.0], [0.0, 1e-9], np.inf),
        ([1.0, np.inf], [2.0, np.inf], 1.0),
        ([1.0, np.nan], [1.0, np.nan], 0),
        ([1.0, 2.0], [1.0, np.nan], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
        ([], [], 0),
        ([True, False], [True, True], 1.0),
        ([3, 4], [3, 5], 0.25),
    ],
)
def test_distances_by_hand(expected, got, distance):
    assert output_distance({"y": np.array(expected)}, {"y": np.array(got)}) == pytest.approx(distance)


def test_the_distance_of_several_outputs_is_the_largest():
    a = {"y": np.array([1.0]), "z": np.array([10.0])}
    assert output_distance(a, {"y": np.array([1.1]), "z": np.array([10.0])}) == pytest.approx(0.1)
    assert output_distance(a, {"y": np.array([1.0])}) == np.inf
