import json
from dataclasses import replace

import pytest
from simulated_runtimes import install, simulated_runtime

from nascli.errors import RunError, RuntimeUnavailableError
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.run.settled_runtime import settle_search
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import load_space

SPEC = "proxyless-mini:resolution=8,width=0.25,depth=1"


def settings(runtime="fastest"):
    return SearchSettings(
        space=SPEC, data="digits", budgets=("latency=20ms",), target=TargetSpec(runtime=runtime, batch=1)
    )


def test_a_run_keeps_the_runtime_that_it_began_with(monkeypatch, tmp_path):
    install(
        monkeypatch, simulated_runtime("slow", {"fp32": 3e-3}), simulated_runtime("quick", {"fp32": 1e-3})
    )
    chosen = settle_search(settings(), load_space(SPEC), tmp_path, Silent())
    assert chosen == settings("quick") and chosen.to_json()["where"]["runtime"] == "quick"
    (tmp_path / "settings.json").write_text(json.dumps(chosen.to_json()))
    # Had it been found anew, it would be the other one.
    install(
        monkeypatch, simulated_runtime("slow", {"fp32": 1e-3}), simulated_runtime("quick", {"fp32": 3e-3})
    )
    assert settle_search(settings(), load_space(SPEC), tmp_path, Silent()) == chosen
    assert settle_search(settings("slow"), load_space(SPEC), tmp_path, Silent()) == settings("slow")


def test_no_runtime_is_looked_for_where_nothing_is_measured(monkeypatch, tmp_path):
    install(monkeypatch)
    counted = replace(settings(), budgets=("macs<=1M",))
    chosen = settle_search(counted, load_space(SPEC), tmp_path, Silent())
    assert chosen.target.runtime == "auto"
    (tmp_path / "settings.json").write_text(json.dumps(chosen.to_json()))
    assert settle_search(counted, load_space(SPEC), tmp_path, Silent()) == chosen
    # A run that was begun when such searches measured goes on with its runtime.
    (tmp_path / "settings.json").write_text(json.dumps(replace(settings("quick")).to_json()))
    assert settle_search(counted, load_space(SPEC), tmp_path, Silent()).target.runtime == "quick"
    with pytest.raises(RuntimeUnavailableError):
        settle_search(replace(counted, measure=True), load_space(SPEC), tmp_path / "other", Silent())


def test_damaged_settings_are_told(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"version": 2}))
    with pytest.raises(RunError):
        settle_search(settings(), load_space(SPEC), tmp_path, Silent())
