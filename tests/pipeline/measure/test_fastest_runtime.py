import pytest
from simulated_runtimes import install, simulated_runtime

from nascli.errors import RuntimeUnavailableError
from nascli.execution import Execution
from nascli.pipeline.measure.fastest_runtime import NETWORKS, settle_runtime
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.spaces.catalog import load_space_of_any_kind

SPACE = load_space("proxyless-mini:resolution=8,width=0.25,depth=1")


class Heard(Silent):
    def __init__(self):
        self.messages = []

    def message(self, text, *remedies):
        self.messages.append(text)


def settled(subject=SPACE, **fields):
    heard = Heard()
    spec = TargetSpec(**{"runtime": "fastest", "batch": 1, **fields})
    return settle_runtime(subject, spec, Execution(), seed=0, progress=heard), heard.messages


def test_the_faster_one_is_chosen_and_told(monkeypatch):
    install(
        monkeypatch,
        simulated_runtime("slow", {"fp32": 3e-3}),
        simulated_runtime("quick", {"fp32": 1e-3, "bf16": 1e-3}),
    )
    spec, messages = settled()
    assert spec == TargetSpec(runtime="quick", batch=1)
    assert messages == [
        f"runtime: quick, 3.00 times as fast as slow in fp32 ({NETWORKS} random networks of {SPACE.name}, timed side by side)"
    ]
    # One network is timed itself.
    spec, messages = settled(SPACE.network([0] * len(SPACE.layers), "mine"))
    assert spec.runtime == "quick" and "(mine, timed side by side)" in messages[0]


def test_without_a_choice_nothing_is_timed(monkeypatch):
    install(
        monkeypatch,
        simulated_runtime("slow", {"fp32": 3e-3}),
        simulated_runtime("quick", {"fp32": 1e-3, "bf16": 1e-3}),
    )
    assert settled(precision="bf16") == (
        TargetSpec(runtime="quick", precision="bf16", batch=1),
        ["runtime: quick, the only one that works here in bf16"],
    )
    assert settled(runtime="slow") == (TargetSpec(runtime="slow", batch=1), [])


def test_a_runtime_that_refuses_a_network_is_out(monkeypatch):
    install(
        monkeypatch,
        simulated_runtime("slow", {"fp32": 3e-3}),
        simulated_runtime("quick", {"fp32": 1e-3}, refused=("fp32",)),
    )
    assert settled()[0].runtime == "slow"
    with pytest.raises(
        RuntimeUnavailableError,
        match="no runtime works here in fp16 on cpu. slow: it measures fp32; quick: it",
    ):
        settled(precision="fp16")
    install(monkeypatch, *(simulated_runtime(name, {"fp32": 3e-3}, refused=("fp32",)) for name in "ab"))
    with pytest.raises(RuntimeUnavailableError, match="a: a has no kernel; b: b has no kernel"):
        settled()


def test_spaces_of_stages_have_networks_too(monkeypatch):
    install(
        monkeypatch, simulated_runtime("slow", {"fp32": 3e-3}), simulated_runtime("quick", {"fp32": 1e-3})
    )
    assert settled(load_space_of_any_kind("nss-expanded-mini"))[0].runtime == "quick"
