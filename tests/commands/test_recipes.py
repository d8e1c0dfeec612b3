"""The commands about recipes: what they show, and how a recipe is named and changed."""

import json

import pytest
from commanding import TINY, run

from nascli.supernet.recipes.registry import recipe_names
from nascli.supernet.training.checkpoint import load_checkpoint


def test_recipes_are_listed_and_shown():
    rows = json.loads(run("recipes", "--json").stdout)
    assert {row["name"] for row in rows if row["kind"] == "retraining"} == set(recipe_names())
    text = run("recipes").stdout
    assert "modern-adamw" in text and "autospace-cells" in text
    shown = run("recipes", "nse").stdout
    assert "Ci et al. 2021" in shown and "4e-05" in shown and "appendix B" in shown and "open" in shown
    (description, _) = json.loads(run("recipes", "nse", "--json").stdout)
    assert description["kind"] == "retraining" and description["fields"][0]["value"] == 350
    assert "Did you mean spos" in run("recipes", "spoz", expect=1).stderr


def test_a_dry_run_shows_numbers_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = run("search", "--preset", "paper", "--space", TINY, "--dry-run").stdout
    for number in ("settings.population", "20000", "supernet.rate", "0.5", "1,078 training images", "120"):
        assert number in text
    args = ["search", "--algorithm", "nse", "--space", "nse-27", "--preset", "paper", "--dry-run", "--json"]
    plan = json.loads(run(*args, "--constraint", "300M<=macs<=350M", "--set", "nse.threshold=-3").stdout)
    assert plan["settings"]["settings.threshold"] == -3 and plan["phases"][0]["epochs"] == 100
    assert not list(tmp_path.iterdir())
    assert "Missing option" in run("search", expect=2).stderr


def test_recipes_are_named_and_changed_where_something_trains(tmp_path):
    own = tmp_path / "mine.toml"
    own.write_text('base = "small"\nepochs = 1\nbatch = 512\n')
    args = ["supernet", "train", "--space", TINY, "--out", tmp_path / "s.safetensors"]
    done = json.loads(run(*args, "--recipe", own, "--json").stdout)
    assert done["steps"] == 1077 // 512
    assert load_checkpoint(tmp_path / "s.safetensors")[1]["steps"] == done["steps"]
    assert "name a recipe" in run(*args, "--recipe", own, "--preset", "small", expect=2).stderr
    refused = [
        ([*args, "--set", "recipe.rates=1"], "Did you mean rate"),
        ([*args, "--recipe", "counted"], "unknown recipe of a supernet 'counted'"),
        (["train", tmp_path / "a.json", "--out", tmp_path / "t", "--set", "rate=1"], "recipe.rate"),
    ]
    for words, message in refused:
        assert message in run(*words, expect=1).stderr
    own.write_text("epochs = 1\nratio = 3\n")
    assert "field of a recipe in" in run(*args, "--recipe", own, expect=1).stderr


@pytest.mark.parametrize("name", ["supernet", "retraining"])
def test_recipes_of_a_search_are_changed_by_group(name):
    args = ["search", "--space", TINY, "--dry-run", "--json", "--set", f"{name}.rate=0.07"]
    recipes = json.loads(run(*args).stdout)["recipes"]
    assert {recipe["group"]: recipe["values"]["rate"] for recipe in recipes}[name] == 0.07
