import json
import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import TRANSFORMER, TRANSFORMER_MACS, floats, saved, transformer_weights

from nascli.errors import ArchitectureError, DeviceError, StoreError
from nascli.execution import Execution
from nascli.lut import Store, program_key
from nascli.lut.in_context.carriers import is_auxiliary
from nascli.pipeline.measure import peaks
from nascli.pipeline.measure.breakdown import break_down
from nascli.pipeline.measure.breakdown_page import compared, comparison_rows, figures_of, write_breakdown_page
from nascli.pipeline.measure.whole_networks import measure_network
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import Architecture, Shape

QUICK = MeasurementProtocol(target=0.99, min_rounds=3, max_rounds=3, burst_seconds=1e-4, min_runs=2)
SPEC = TargetSpec(batch=4)


@pytest.fixture
def execution(tmp_path):
    return Execution(store=tmp_path / "s.sqlite")


@pytest.fixture(autouse=True)
def small_peaks(monkeypatch):
    """Small products and copies, so that these tests are quick."""
    monkeypatch.setattr(peaks, "_COPIED_BYTES", (1 << 12, 1 << 14, 1 << 16))
    monkeypatch.setattr(peaks, "_PRODUCTS", ((Shape(8, 4, 4), 1), (Shape(8, 4, 4), 3)))


@pytest.fixture
def transformer(tmp_path):
    return saved(tmp_path / "vit.onnx", TRANSFORMER, transformer_weights())


class Told(Silent):
    def __init__(self):
        self.messages, self.steps = [], 0

    def message(self, text, *remedies):
        self.messages.append(text)

    def advance(self, steps=1, note=""):
        self.steps += steps


def broken_down(path, execution, progress=None, *, own_batch=True, spec=SPEC):
    return break_down(
        path, spec, execution, own_batch=own_batch, protocol=QUICK, progress=progress or Silent()
    )


def test_the_pieces_of_a_real_network_add_up_to_it(transformer, execution):
    told = Told()
    found = broken_down(transformer, execution, told)
    assert found.setup.batch == 1 and found.name == "vit"
    assert found.pieces[0].name == "patch embedding 4x4"
    assert "attention" in [piece.name for piece in found.pieces]
    assert sum(piece.seconds for piece in found.pieces) == pytest.approx(found.together.seconds)
    assert found.seconds == pytest.approx(found.together.seconds + found.outside.seconds)
    assert sum(piece.share for piece in found.pieces) == pytest.approx(found.together.seconds / found.seconds)
    assert sum(piece.macs for piece in found.pieces) == TRANSFORMER_MACS
    assert all(piece.measurement.low <= piece.seconds <= piece.measurement.high for piece in found.pieces)
    assert found.opinion is not None and found.no_opinion == ""
    named = sum(len(piece.nodes) for piece in found.pieces)
    assert named > len(found.pieces) and found.opinion.unattributed == 0
    assert all(piece.runtime_seconds > 0 for piece in found.pieces)
    pieces, models = len(found.pieces), told.steps
    assert told.messages[0].startswith(f"{pieces} pieces, {pieces} of them different, on cpu-")
    assert f"{models} to measure; about" in told.messages[0]
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["pieces"][0]["output"] == [6, 2, 2]
    assert document["pieces"][0]["bound_by"] in ("compute", "memory")
    assert document["runtime"]["unattributed_s"] == 0 and document["no_runtime_times"] is None


def test_nothing_is_measured_twice_and_a_killed_run_goes_on(transformer, execution, monkeypatch):
    real, calls = OrtCpu.load, []

    def load(self, model, options):
        calls.append(model)
        return real(self, model, options)

    monkeypatch.setattr(OrtCpu, "load", load)

    class Killed(Told):
        def advance(self, steps=1, note=""):
            super().advance(steps, note)
            if self.steps >= 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_down(transformer, execution, Killed())
    with Store(execution.store) as store:
        ((setup, _, _),) = store.setups()
        before = {key: [s.taken_at for s in rows] for key, rows in store.samples(setup).items()}
    assert before
    told = Told()
    first = broken_down(transformer, execution, told)
    with Store(execution.store) as store:
        for key, times in before.items():
            assert [s.taken_at for s in store.samples(setup)[key]][: len(times)] == times
    calls.clear()
    again = broken_down(transformer, execution, told)
    assert calls == [] and ", 0 to measure" in told.messages[-1] and "about" not in told.messages[-1]
    assert [piece.seconds for piece in again.pieces] == [piece.seconds for piece in first.pieces]


def test_the_network_is_measured_anew_beside_its_pieces(transformer, execution):
    """What an earlier day measured of the file would make the difference to its pieces meaningless."""
    measure_network(transformer, SPEC, execution, progress=Silent(), own_batch=True)
    found = broken_down(transformer, execution)
    with Store(execution.store) as store:
        generations = {
            rows[0].generation
            for key, rows in store.samples(found.setup).items()
            if store.operators(found.setup)[key][0].startswith("network vit ")
        }
        labels = [label for label, _ in store.operators(found.setup).values()]
    assert generations == {0, 1}
    # Operators keep their own labels, and everything else is not shown among them.
    assert not any("carrier" in label and not is_auxiliary(label) for label in labels)
    keys = {piece.key for piece in found.pieces}
    assert keys == {program_key(p.program) for p in _operators(transformer)}


def _operators(path):
    from nascli.profiles.onnx.networks import read_onnx_network

    return read_onnx_network(path).operators


def test_an_architecture_is_its_own_chain(tmp_path, execution, tiny):
    row = tiny.sample(1, np.random.default_rng(0))[0]
    architecture = Architecture.of(tiny, row, "mine")
    architecture.save(tmp_path / "a.json")
    found = broken_down(tmp_path / "a.json", execution)
    assert found.setup.batch == 4 and found.outside.seconds == 0
    assert sum(piece.macs for piece in found.pieces) == 4 * architecture.network.counts.macs
    assert len(found.pieces) == len(architecture.network.operators)


def test_a_file_that_cannot_be_read_and_a_device_that_is_not_here_are_told(tmp_path, execution):
    with pytest.raises(ArchitectureError, match="no such file"):
        broken_down(tmp_path / "none.onnx", execution)
    with pytest.raises(DeviceError, match="titanxp"):
        broken_down(tmp_path / "none.onnx", execution, spec=TargetSpec(device="titanxp"))


def test_a_runtime_without_a_profile_leaves_the_second_opinion_out(transformer, execution, monkeypatch):
    monkeypatch.setattr(OrtCpu, "node_times", lambda self, model, options: None)
    found = broken_down(transformer, execution)
    assert found.opinion is None and found.no_opinion == "ort-cpu has no profile of its own"
    assert {piece.runtime_seconds for piece in found.pieces} == {None}
    assert "gives no times of its own" in figures_of(found).runtime_note
    assert found.to_json()["runtime"] is None

    def fails(self, model, options):
        raise DeviceError("the profile cannot be read")

    monkeypatch.setattr(OrtCpu, "node_times", fails)
    assert broken_down(transformer, execution).no_opinion == "the profile cannot be read"


def test_two_networks_are_compared_by_key_and_by_kind(tmp_path, transformer, execution):
    first = broken_down(transformer, execution)
    other = saved(
        tmp_path / "wide.onnx",
        TRANSFORMER.replace("y = Gemm (taken, out_weight, out_bias)", "y = Gemm (taken, out_weight)"),
        {k: v for k, v in transformer_weights().items() if k != "out_bias"},
    )
    second = broken_down(other, execution)
    document = compared(first, second)
    json.dumps(document, allow_nan=False)
    shared = {piece.key for piece in first.pieces} & {piece.key for piece in second.pieces}
    assert shared and {row["key"] for row in document["equal_pieces"]} == shared
    assert document["difference_s"] == pytest.approx(second.seconds - first.seconds)
    kinds = {row["name"]: row for row in document["kinds"]}
    assert kinds["attention"]["first_pieces"] == kinds["attention"]["second_pieces"] == 1
    rows = comparison_rows(figures_of(first), figures_of(second))
    assert len(rows) == len(kinds) and all(len(row) == 6 for row in rows)
    page = tmp_path / "page.html"
    write_breakdown_page([first, second], page)
    assert "Both networks from input to output" in page.read_text()
    with pytest.raises(StoreError, match="cannot write"):
        write_breakdown_page([first], page / "inside.html")


def test_control_flow_stands_alone(tmp_path, execution):
    branch = [
        helper.make_graph(
            [helper.make_node(op, ["h"], [f"{op}.y"])],
            op, [], [helper.make_tensor_value_info(f"{op}.y", TensorProto.FLOAT, [1, 4])],
        )
        for op in ("Neg", "Abs")
    ]  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ReduceSum", ["h"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["c"]),
        helper.make_node("If", ["c"], ["b"], then_branch=branch[0], else_branch=branch[1]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(floats(4, 4), "w"), onnx.numpy_helper.from_array(np.float32(0), "zero")],
    )  # fmt: skip
    path = tmp_path / "flow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    found = broken_down(path, execution)
    assert len(found.pieces) > 1 and found.opinion is None and "control flow" in found.no_opinion
    assert sum(piece.seconds for piece in found.pieces) == pytest.approx(found.seconds)
    assert math.isfinite(found.outside.seconds) and found.outside.seconds == 0
