import json
from pathlib import Path

import pytest

from nascli.pipeline.run import sweep
from nascli.pipeline.run.result import read_result
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.run.sweep import SweepRow, run_sweep
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"
BUDGETS = ["macs<=150k", "macs<=300k"]


@pytest.mark.parametrize("run", ["spos", "bits"])
def test_a_row_tells_what_the_run_of_its_budget_found(run):
    document = json.loads((FROZEN / run / "result.json").read_text())
    assert SweepRow("macs<=330k", read_result(FROZEN / run)).to_json() == {
        "budget": "macs<=330k",
        "run": str(FROZEN / run),
        "top1": document["retrained_top1"],
        "measured_latency_s": document["measured_latency_s"],
        "macs": document["macs"],
        "params": document["params"],
    }


@pytest.fixture
def searched(monkeypatch):
    """The searches that a sweep began, each of which finds what an old run found."""
    calls = []

    def search(settings, folder, progress):
        calls.append((settings, folder))
        return read_result(FROZEN / ("spos" if len(calls) == 1 else "nse"))

    monkeypatch.setattr(sweep, "run_search", search)
    return calls


def settings_of(budgets):
    return [SearchSettings("proxyless-mini", "digits", (budget,), TargetSpec()) for budget in budgets]


def test_each_budget_is_searched_once_in_a_folder_of_its_own(searched, tmp_path):
    settings = settings_of(BUDGETS)
    rows = run_sweep(BUDGETS, settings, tmp_path, Silent())
    assert [row.budget for row in rows] == BUDGETS
    assert [row.result.folder.name for row in rows] == ["spos", "nse"]
    assert [one for one, _ in searched] == settings
    assert [folder for _, folder in searched] == [tmp_path / "macs-150k", tmp_path / "macs-300k"]


def test_without_a_folder_each_search_has_its_default_one(searched):
    settings = settings_of(BUDGETS)
    run_sweep(BUDGETS, settings, None, Silent())
    folders = [folder for _, folder in searched]
    assert folders == [one.default_folder for one in settings] and len(set(folders)) == 2


def test_as_many_settings_as_budgets_are_needed(searched):
    with pytest.raises(ValueError, match="zip"):
        run_sweep(BUDGETS, settings_of(BUDGETS[:1]), None, Silent())
