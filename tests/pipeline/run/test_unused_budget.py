import json
import shutil
from pathlib import Path

import pytest

from nascli.pipeline.run.report import write_report
from nascli.pipeline.run.unused_budget import explain_unused_budget

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"


def changed(run, folder, value=None, high=None):
    """A copy of an old run whose winner has a value under an upper bound."""
    copy = Path(shutil.copytree(FROZEN / run, folder / run))
    document = json.loads((copy / "result.json").read_text())
    for row in document["budget"]:
        row["value"] = row["value"] if value is None else value
        row["high"] = row["high"] if high is None else high
    (copy / "result.json").write_text(json.dumps(document))
    return copy


def test_a_winner_that_fills_a_budget_needs_no_explanation(tmp_path):
    assert explain_unused_budget(changed("bits", tmp_path, value=590_000, high=600_000)) is None


def test_a_run_that_looked_at_too_few_networks_says_what_looks_at_more(tmp_path):
    folder = changed("bits", tmp_path)
    document = json.loads((folder / "result.json").read_text())
    settings = json.loads((folder / "settings.json").read_text())
    costs = [row["high"] for row in document["budget"]]
    # A budget between the evaluated networks and the most expensive one of the space.
    found = explain_unused_budget(changed("bits", tmp_path / "wide", high=3 * costs[0]))
    evaluated = len((folder / "evaluations.jsonl").read_text().splitlines())
    assert f"0 of {evaluated} evaluated networks use at least 95% of it" in found.text
    (remedy,) = found.remedies
    generations = settings.get("effort", {}).get("evolution", {}).get("generations") or 2
    assert remedy.arguments == {"generations": 2 * generations}
    page = write_report(tmp_path / "wide" / "bits").read_text()
    assert "hardly looked at larger networks" in page and remedy.words in page


def test_a_budget_beyond_the_space_is_told(tmp_path):
    found = explain_unused_budget(changed("bits", tmp_path, high=1e12))
    assert "because the space has nothing larger" in found.text and not found.remedies


def test_a_latency_is_held_against_the_model_of_its_run(tmp_path):
    folder = changed("spos", tmp_path)
    document = json.loads((folder / "result.json").read_text())
    predicted = document["predicted_latency_s"]["value"]
    for row in document["budget"]:
        # By the model the winner uses 98 % of its latency, and on the device half of that; of the MACs, next to nothing.
        row["high"] = predicted / 0.98 if row["cost"] == "latency" else 1e12
        row["value"] = predicted / 2 if row["cost"] == "latency" else row["value"]
    (folder / "result.json").write_text(json.dumps(document))
    found = explain_unused_budget(folder)
    assert found.text.startswith("The winner uses 49% of its budget: the model put it at 98%, and the device")


@pytest.mark.parametrize("run", ["nse", "pcnas", "proxyless"])
def test_every_algorithm_names_what_widens_its_search(run):
    from nascli.pipeline.run.old_settings import read_settings
    from nascli.search.registry import find_algorithm

    preset = read_settings(FROZEN / run)["preset"]
    (remedy,) = find_algorithm(run).wider_search(preset)
    assert remedy.words.endswith(".") and list(remedy.arguments) == ["changes"]
