import json

import pytest

from nascli.errors import DeviceError
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import NodeTime, RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.runtimes.ort_profile import parse_profile
from nascli.spaces.operators.inverted_residual import mbconv


def node(name, kind, index, microseconds):
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": microseconds,
        "args": {"op_name": kind, "node_index": str(index)},
    }


RUN = {"cat": "Session", "name": "model_run", "dur": 99, "args": {}}
START = {"cat": "Session", "name": "session_initialization", "dur": 5000, "args": {}}


def test_medians_over_runs_by_name_and_place():
    events = [START]
    for conv in (900, 20, 40, 30):
        events += [
            node("Reorder", "ReorderInput", 7, 4),
            node("c1", "Conv", 8, conv),
            node("Reorder", "ReorderInput", 9, 6),
            RUN,
        ]
    assert parse_profile(json.dumps(events), 4, 1) == [
        NodeTime("Reorder", "ReorderInput", pytest.approx(4e-6)),
        NodeTime("c1", "Conv", pytest.approx(30e-6)),
        NodeTime("Reorder", "ReorderInput", pytest.approx(6e-6)),
    ]


def test_a_node_of_a_loop_counts_with_all_its_rounds():
    events = [node("body", "Add", 0, 5), node("body", "Add", 0, 7), node("loop", "Loop", 3, 20), RUN]
    assert parse_profile(json.dumps(events), 1, 0) == [
        NodeTime("body", "Add", pytest.approx(12e-6)), NodeTime("loop", "Loop", pytest.approx(20e-6)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[{",
        "{}",
        "[1]",
        "null",
        json.dumps([RUN, RUN]),
        json.dumps([{"cat": "Node", "name": "a_kernel_time"}, RUN]),
    ],
)
def test_a_damaged_profile_is_an_error(text):
    with pytest.raises(DeviceError, match="the profile of ONNX Runtime"):
        parse_profile(text, 1, 0)


def test_the_profile_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    nodes = OrtCpu().node_times(onnx_bytes(mbconv((8, 14, 14), 8).program, 1), RuntimeOptions())
    assert sum(node.kind == "Conv" for node in nodes) == 3 and not list(tmp_path.iterdir())
