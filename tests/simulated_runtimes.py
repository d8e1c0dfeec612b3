"""Runtimes of known speed in the place of those that there are."""

from typing import ClassVar

import numpy as np
from fakes import SimulatedMachine, SimulatedRuntime, SimulatedSession

from nascli.errors import ModelRefusedError
from nascli.pipeline.measure import every_runtime, fastest_runtime
from nascli.profiles.runtimes import registry


def simulated_runtime(runtime_name, seconds, outputs=None, refused=()):
    """A runtime that takes `seconds[precision]` for any model, and refuses models in the precisions `refused`."""
    machine = SimulatedMachine()

    class Session(SimulatedSession):
        def evaluate(self, feeds):
            return {"output": np.asarray(self.output)}

    class Runtime(SimulatedRuntime):
        name = runtime_name
        precisions: ClassVar = {
            precision: "fp32" if precision == "bf16" else precision for precision in seconds
        }
        auto_rank = 0

        def load(self, model, options):
            if options.precision in refused:
                raise ModelRefusedError(f"{runtime_name} has no kernel")
            session = Session(machine, seconds[options.precision])
            session.output = (outputs or {}).get(options.precision, [1.0, -2.0])
            return session

    return Runtime(machine)


def install(monkeypatch, *runtimes):
    """Let these be all the runtimes that there are."""
    by_name = {runtime.name: runtime for runtime in runtimes}
    for module in (registry, every_runtime, fastest_runtime):
        monkeypatch.setattr(module, "all_runtimes", lambda: by_name)
