import json
from pathlib import Path

import pytest

from nascli.errors import RunError, UnknownNameError
from nascli.pipeline.run.old_settings import read_settings, upgrade_settings
from nascli.pipeline.run.settings import VERSION, SearchSettings
from nascli.profiles.target import TargetSpec
from nascli.search.registry import find_algorithm

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"
RUNS = sorted(path.name for path in FROZEN.iterdir())


def old_settings(run):
    return json.loads((FROZEN / run / "settings.json").read_text())


@pytest.mark.parametrize("run", RUNS)
def test_an_old_document_becomes_one_of_today_with_the_preset_of_its_algorithm(run):
    document = old_settings(run)
    new = upgrade_settings(document)
    assert new["version"] == VERSION and "effort" not in new
    preset = find_algorithm(document["algorithm"]).presets["small"].to_json()
    assert new["preset"].keys() == preset.keys()
    assert new["preset"]["settings"].keys() == preset["settings"].keys()
    assert {name: new[name] for name in document if name != "effort"} == {
        name: value for name, value in document.items() if name != "effort"
    }


def test_settings_of_an_algorithm_are_found_under_their_old_name():
    document = old_settings("spos")
    settings = upgrade_settings(document)["preset"]["settings"]
    assert settings["population"] == document["effort"]["evolution"]["population"] == 4
    assert settings["generations"] == document["effort"]["evolution"]["generations"] == 2


@pytest.mark.parametrize(
    ("name", "retraining", "supernet"),
    [
        ("spos", {"rate": 0.5, "schedule": "linear", "epochs": 240}, {"rate": 0.5, "warmup": 0.0}),
        ("nse", {"rate": 0.8, "warmup": 0.1, "label_smoothing": 0.1, "epochs": 350}, {"warmup": 2 / 14}),
        ("pcnas", {"mixup": 0.2, "floor": 5e-4, "epochs": 300}, {"floor": 5e-4, "label_smoothing": 0.0}),
    ],
)
def test_recipes_of_papers_are_what_that_version_trained_by(name, retraining, supernet):
    """Today's recipes of the same names differ: what a run trained by is what its settings say."""
    document = old_settings("spos")
    effort = {**document["effort"], "recipe": name, "retrain": name, "retrain_epochs": None}
    effort["supernet_epochs"] = 14
    preset = upgrade_settings({**document, "effort": effort})["preset"]
    for group, expected in (("retraining", retraining), ("supernet", supernet)):
        assert {key: preset[group][key] for key in expected} == expected
        # That version knew neither crops nor flips; every recipe clipped gradients and moved images.
        assert (preset[group]["clip"], preset[group]["shift"]) == (5.0, 2) and "crop" not in preset[group]


def test_a_document_of_today_stays_as_it_is():
    today = SearchSettings("proxyless-mini", "digits", ("macs<=1M",), TargetSpec()).to_json()
    assert upgrade_settings(today) is today


def test_an_algorithm_that_is_gone_is_told():
    with pytest.raises(UnknownNameError, match="unknown algorithm 'gone'"):
        upgrade_settings({**old_settings("spos"), "algorithm": "gone"})


def test_a_folder_without_settings_has_none(tmp_path):
    assert read_settings(tmp_path) == {}


def test_damaged_settings_are_told_by_their_file(tmp_path):
    document = old_settings("spos")
    del document["effort"]["finalists"]
    (tmp_path / "settings.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"settings\.json"):
        read_settings(tmp_path)
