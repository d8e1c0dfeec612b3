"""The contract of a runtime. Subclass `RuntimeContract`, give it a runtime, and let pytest collect it."""

from __future__ import annotations

import numpy as np

from nascli.errors import DeviceError
from nascli.profiles.graphs import onnx_bytes
from nascli.profiles.runtimes.base import Runtime, RuntimeOptions
from nascli.spaces.library import mbconv


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
        session = self.runtime().load(onnx_bytes(mbconv((8, 8, 8), 8).program, 2), RuntimeOptions())
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
            session = runtime.load(onnx_bytes(mbconv((32, size, size), 32).program, 4), RuntimeOptions())
            session.time(3)
            figures.append(float(np.min(session.time(9).seconds)))
            session.close()
        assert figures[1] > 3 * figures[0]

    def test_it_computes_what_the_model_says(self) -> None:
        """Same inputs, same outputs, of the declared shape."""
        session = self.runtime().load(onnx_bytes(mbconv((4, 6, 6), 8).program, 3), RuntimeOptions())
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
            model = onnx_bytes(mbconv((8, 8, 8), 8).program, 2, precision=precision)
            session = runtime.load(model, options)
            assert np.all(np.isfinite(session.run(inputs)))
            assert np.all(session.time(3).seconds > 0)
            session.close()

    def test_it_refuses_what_is_no_model(self) -> None:
        """Damage is a domain error."""
        try:
            self.runtime().load(b"not a model", RuntimeOptions())
        except DeviceError:
            return
        raise AssertionError("a broken model was loaded")
