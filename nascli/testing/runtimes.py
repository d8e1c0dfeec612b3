"""The contract of a runtime. Subclass `RuntimeContract`, give it a runtime, and let pytest collect it."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper

from nascli.errors import DeviceError, ModelRefusedError, NascliError
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.runtimes.base import Runtime, RuntimeOptions
from nascli.spaces.operators.inverted_residual import mbconv


class RuntimeContract:
    """Tests that hold for any runtime that works on this machine."""

    def runtime(self) -> Runtime:
        """The runtime under test."""
        raise TypeError("override runtime()")

    def test_it_is_named_and_versioned(self) -> None:
        """Name and version are part of a table's key."""
        runtime = self.runtime()
        assert runtime.name and runtime.missing() is None
        assert runtime.version()

    def test_it_times_every_run(self) -> None:
        """One positive figure per run."""
        runtime = self.runtime()
        session = runtime.load(
            onnx_bytes(mbconv((8, 8, 8), 8).program, 2), RuntimeOptions(precision=_plain(runtime))
        )
        seconds, waited = session.time(7)
        session.close()
        assert seconds.shape == (7,)
        assert bool(np.all(seconds > 0))
        assert waited is None or waited >= 0

    def test_ten_times_the_work_takes_longer(self) -> None:
        """What is timed is the model."""
        runtime = self.runtime()
        figures = []
        for size in (8, 64):
            session = runtime.load(
                onnx_bytes(mbconv((32, size, size), 32).program, 4), RuntimeOptions(precision=_plain(runtime))
            )
            session.time(3)
            figures.append(float(np.min(session.time(9).seconds)))
            session.close()
        assert figures[1] > 3 * figures[0]

    def test_it_computes_what_the_model_says(self) -> None:
        """Same inputs, same outputs, of the declared shape."""
        runtime = self.runtime()
        session = runtime.load(
            onnx_bytes(mbconv((4, 6, 6), 8).program, 3), RuntimeOptions(precision=_plain(runtime))
        )
        inputs = np.random.default_rng(1).standard_normal((3, 4, 6, 6)).astype(np.float32)
        first, second = session.run(inputs), session.run(inputs)
        session.close()
        assert first.shape == (3, 8, 6, 6)
        assert np.array_equal(first, second)

    def test_it_runs_every_precision_it_names(self) -> None:
        """Each precision loads, computes something finite, and is timed."""
        runtime = self.runtime()
        inputs = np.random.default_rng(1).standard_normal((2, 8, 8, 8)).astype(np.float32)
        for precision in runtime.precisions:
            options = RuntimeOptions(precision=precision)
            model = onnx_bytes(mbconv((8, 8, 8), 8).program, 2, precision=runtime.precisions[precision])
            session = runtime.load(model, options)
            assert np.all(np.isfinite(session.run(inputs)))
            assert np.all(session.time(3).seconds > 0)
            session.close()

    def test_it_binds_inputs_of_every_kind(self) -> None:
        """Numbers, indices, and booleans get values, and all outputs come back in their own types."""
        runtime = self.runtime()
        options = RuntimeOptions(precision=_plain(runtime), integer_range=(1, 3))
        session = runtime.load(_picking_model(), options)
        assert np.all(session.time(3).seconds > 0)
        rows, chosen = np.arange(8, dtype=np.float32).reshape(4, 2), np.array([3, 0, 1], np.int64)
        mask = np.array([[True, False], [False, True], [True, True], [False, False]])
        outputs = session.evaluate({"rows": rows, "chosen": chosen, "mask": mask})
        assert set(outputs) == {"picked", "masked", "larger"}
        assert np.array_equal(outputs["picked"], rows[chosen])
        assert np.array_equal(outputs["masked"], np.where(mask, rows, -rows))
        assert outputs["larger"].dtype == bool and np.array_equal(outputs["larger"], rows > -rows)
        session.close()

    def test_inputs_are_the_same_each_time_and_can_be_given(self) -> None:
        """What has no value in the call keeps the one in place, which is given or drawn with a fixed seed."""
        runtime = self.runtime()
        rows = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], np.float32)
        figures = []
        for inputs in ({}, {}, {"rows": rows}):
            options = RuntimeOptions(precision=_plain(runtime), inputs=inputs, integer_range=(2, 2))
            session = runtime.load(_picking_model(), options)
            figures.append(session.evaluate({})["picked"])
            session.close()
        assert figures[0].std() > 0 and np.array_equal(figures[0], figures[1])
        assert np.array_equal(figures[2], rows[[2, 2, 2]])

    def test_values_that_fit_no_input_are_refused(self) -> None:
        """The error names the inputs of the model."""
        runtime = self.runtime()
        plain = RuntimeOptions(precision=_plain(runtime))
        for name, value in (
            ("columns", np.zeros((4, 2), np.float32)),
            ("rows", np.zeros((2, 4), np.float32)),
            ("rows", np.zeros((4, 2), np.int64)),
        ):
            try:
                runtime.load(_picking_model(), replace(plain, inputs={name: value})).close()
            except NascliError as error:
                assert "rows (float32, 4x2), chosen (int64, 3), mask (bool, 4x2)" in str(error)
                continue
            raise AssertionError(f"{name} of shape {value.shape} and type {value.dtype} was taken")

    def test_open_sizes_are_refused(self) -> None:
        """A model is run with sizes that are numbers."""
        runtime = self.runtime()
        try:
            runtime.load(_picking_model(rows="n"), RuntimeOptions(precision=_plain(runtime)))
        except ModelRefusedError as error:
            assert "rows" in str(error)
            return
        raise AssertionError("a model with an open size was loaded")

    def test_its_own_profile_is_of_the_same_model(self) -> None:
        """The nodes together take about as long as the model, where the runtime tells."""
        runtime = self.runtime()
        model = onnx_bytes(mbconv((32, 32, 32), 32).program, 4)
        options = RuntimeOptions(precision=_plain(runtime))
        nodes = runtime.node_times(model, options)
        if nodes is None:
            return
        session = runtime.load(model, options)
        session.time(3)
        whole = float(np.median(session.time(9).seconds))
        session.close()
        assert all(node.name and node.seconds >= 0 for node in nodes)
        assert 0.2 * whole < sum(node.seconds for node in nodes) < 5 * whole

    def test_it_refuses_what_is_no_model(self) -> None:
        """Damage is a domain error."""
        runtime = self.runtime()
        try:
            runtime.load(b"not a model", RuntimeOptions(precision=_plain(runtime)))
        except DeviceError:
            return
        raise AssertionError("a broken model was loaded")


class CardRuntimeContract(RuntimeContract):
    """What holds besides for a runtime on an NVIDIA card; needs one."""

    def test_bursts_repeat(self) -> None:
        """Two bursts of a warm model agree within 10 %."""
        runtime = self.runtime()
        model = onnx_bytes(mbconv((32, 56, 56), 32).program, 16)
        session = runtime.load(model, RuntimeOptions(precision=_plain(runtime)))
        deadline = time.monotonic() + max(runtime.warmup_seconds, 0.2)
        while time.monotonic() < deadline:
            session.time(10)
        figures = [float(np.median(session.time(50).seconds)) for _ in range(6)]
        session.close()
        # Sessions may hold several engines, timed in turn.
        assert max(figures[::2]) < 1.1 * min(figures[::2])

    def test_every_mode_runs(self) -> None:
        """CUDA graphs and rotating inputs are timed where the runtime names them."""
        runtime = self.runtime()
        model = onnx_bytes(mbconv((8, 16, 16), 8).program, 4)
        for mode in runtime.modes:
            options = RuntimeOptions(
                precision=_plain(runtime), cuda_graph=mode == "cuda_graph", rotate=mode == "rotate"
            )
            session = runtime.load(model, options)
            assert np.all(session.time(5).seconds > 0)
            session.close()

    def test_it_agrees_with_the_cpu(self) -> None:
        """The card computes what the model says, within what its precision allows."""
        from nascli.profiles.runtimes.ort_cpu import OrtCpu

        model = onnx_bytes(mbconv((8, 12, 12), 8).program, 2)
        inputs = np.random.default_rng(2).standard_normal((2, 8, 12, 12)).astype(np.float32)
        runtime = self.runtime()
        session = runtime.load(model, RuntimeOptions(precision=_plain(runtime)))
        got = session.run(inputs)
        session.close()
        other = OrtCpu().load(model, RuntimeOptions())
        expected = other.run(inputs)
        other.close()
        assert float(np.abs(got - expected).max()) < 0.02 * float(np.abs(expected).max())


def _picking_model(rows: int | str = 4) -> bytes:
    """Return a model with inputs and outputs of several types: chosen rows, a choice by a mask, and a comparison."""
    types = TensorProto
    nodes = [
        helper.make_node("Gather", ["rows", "chosen"], ["picked"], axis=0),
        helper.make_node("Neg", ["rows"], ["negative"]),
        helper.make_node("Where", ["mask", "rows", "negative"], ["masked"]),
        helper.make_node("Greater", ["rows", "negative"], ["larger"]),
    ]
    inputs = [
        helper.make_tensor_value_info("rows", types.FLOAT, (rows, 2)),
        helper.make_tensor_value_info("chosen", types.INT64, (3,)),
        helper.make_tensor_value_info("mask", types.BOOL, (rows, 2)),
    ]
    outputs = [
        helper.make_tensor_value_info("picked", types.FLOAT, (3, 2)),
        helper.make_tensor_value_info("masked", types.FLOAT, (rows, 2)),
        helper.make_tensor_value_info("larger", types.BOOL, (rows, 2)),
    ]
    graph = helper.make_graph(nodes, "picking", inputs, outputs)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])
    return bytes(model.SerializeToString())


def _plain(runtime: Runtime) -> str:
    return "tf32" if "tf32" in runtime.precisions else "fp32"
