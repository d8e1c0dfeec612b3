import json
from pathlib import Path

import pytest

from nascli.errors import ConstraintError, NascliError, UnknownNameError
from nascli.pipeline.run.old_settings import read_settings, upgrade_settings
from nascli.pipeline.run.settings import SearchSettings, choose_preset
from nascli.profiles.target import TargetSpec
from nascli.search.registry import algorithm_names, find_algorithm

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"


def changed(algorithm, *texts):
    return choose_preset(algorithm, changes=texts)[0]


def test_values_of_every_kind():
    preset = changed(
        "nse", "nse.threshold=-3", "nse.lock=false", "nse.rounds=none", "nse.candidates=6", "fitness.betas=0,0.999",
        "finalists=2", "fitness.weight=None",
    )  # fmt: skip
    nse = preset.settings
    assert (nse.threshold, nse.lock, nse.rounds, nse.candidates) == (-3.0, False, None, 6)
    assert nse.fitness.betas == (0.0, 0.999) and nse.fitness.weight is None
    assert changed("autospace", "autospace.compensation=delay").settings.compensation == "delay"
    assert preset.finalists == 2 and changed("proxyless", "gates.weight=0.5").settings.weight == 0.5
    assert changed("nse").settings.lock is True


def test_groups_may_be_nested_and_recipes_changed():
    preset = changed(
        "nse", "settings.fitness.rate=0.2", "supernet.rate=0.05", "retrain_epochs=3", "nse_epochs=4"
    )
    assert preset.settings.fitness.rate == 0.2 and preset.supernet.rate == 0.05
    assert preset.retraining.epochs == 3 and preset.supernet.epochs == 4


def test_a_rule_about_two_settings_sees_both():
    settings = changed(
        "autospace", "autospace.population=6", "autospace.last_team=3", "autospace.first_team=2"
    ).settings
    assert (settings.population, settings.first_team, settings.last_team) == (6, 2, 3)


@pytest.mark.parametrize(
    ("algorithm", "text", "error", "message"),
    [
        ("nse", "nse", ConstraintError, "NAME=VALUE"),
        ("nse", "nso.lock=true", UnknownNameError, "nse"),
        ("nse", "nse.locks=true", UnknownNameError, "lock"),
        ("nse", "nse.lock=maybe", ConstraintError, "lock takes bool"),
        ("nse", "nse.samples=many", ConstraintError, "samples takes int"),
        ("nse", "nse.lock=none", ConstraintError, "lock takes bool"),
        ("nse", "nse.candidates=1", NascliError, "candidates >= 2"),
        ("nse", "fitness.betas=x", ConstraintError, "numbers with commas"),
        ("nse", "finalists=0", NascliError, "finalists >= 1"),
        ("proxyless", "gates.betas=0", NascliError, "two numbers"),
        ("autospace", "autospace.cells=60", NascliError, "cells < population"),
        ("nse", "nse=3", UnknownNameError, "hyper-parameter"),
        # Settings of an algorithm that does not run would change nothing.
        ("spos", "nse.lock=true", UnknownNameError, "spos"),
    ],
)
def test_what_cannot_be_set(algorithm, text, error, message):
    with pytest.raises(error, match=message):
        changed(algorithm, text)


def test_options_of_a_searcher_say_where_they_mean_nothing():
    given = {"population": 6, "generations": 3, "evaluations": None}
    preset, unused = choose_preset("spos", searcher=given)
    assert (preset.settings.population, preset.settings.generations, unused) == (6, 3, [])
    preset, unused = choose_preset("autospace", searcher=given)
    # AutoSpace has a population of its own, which the option is not about.
    assert preset.searcher.population == 6 and preset.settings.population == 60 and not unused
    assert choose_preset("pcnas", searcher=given)[1] == ["population", "generations"]


@pytest.mark.parametrize("name", algorithm_names())
def test_every_preset_survives_json(name):
    for preset in find_algorithm(name).presets.values():
        assert json.loads(json.dumps(preset.to_json()))["finalists"] == preset.finalists


def test_an_unknown_preset_is_told():
    with pytest.raises(UnknownNameError, match="small"):
        choose_preset("spos", "huge")


def test_budgets_are_parsed_once_and_contradictions_refused():
    settings = SearchSettings("s", "digits", ("latency=8ms", "latency@cpu<=7ms", "macs<=3M"), TargetSpec())
    latency, macs = settings.constraints
    # The device that is measured on needs no name, and the narrower bound holds.
    assert (latency.device, latency.high, macs.high) == (None, 7e-3, 3e6)
    with pytest.raises(ConstraintError, match="same on every device"):
        SearchSettings("s", "digits", ("macs@cpu<=3M",), TargetSpec())
    with pytest.raises(ConstraintError, match="at least one constraint"):
        SearchSettings("s", "digits", (), TargetSpec())


@pytest.mark.parametrize("run", sorted(path.name for path in FROZEN.iterdir()))
def test_settings_of_an_old_run_are_read_as_those_of_today(run):
    document = json.loads((FROZEN / run / "settings.json").read_text())
    new = upgrade_settings(document)
    effort, preset = document["effort"], new["preset"]
    assert "effort" not in new and new["constraints"] == document["constraints"]
    assert preset["finalists"] == effort["finalists"]
    assert preset["retraining"]["epochs"] == effort["retrain_epochs"]
    assert upgrade_settings(new) == new and read_settings(FROZEN / run) == new


def test_a_batch_is_that_of_both_trainings_of_a_learned_space():
    preset = changed("autospace", "batch=16")
    assert (preset.supernet.batch, preset.space_recipe.batch) == (16, 16)


@pytest.mark.parametrize("name", ["nse_epochs", "supernet_epochs", "supernet.epochs"])
def test_the_papers_learning_rate_rises_over_two_epochs_however_many_there_are(name):
    preset, _ = choose_preset("nse", "paper", changes=[f"{name}=50"])
    assert preset.supernet == choose_preset("nse", "paper", supernet_epochs=50)[0].supernet
    assert preset.supernet.warmup == 2 / 50


@pytest.mark.parametrize(
    ("texts", "error", "message"),
    [
        (["finalists=3", "finalists.x=3"], ConstraintError, "takes it for a group"),
        (["nse.lock=false", "nse=3"], ConstraintError, "is a group"),
        (["searcher=none"], UnknownNameError, "unknown hyper-parameter 'searcher'"),
    ],
)
def test_a_name_is_a_value_or_a_group(texts, error, message):
    with pytest.raises(error, match=message):
        changed("nse", *texts)


def test_the_preset_of_another_algorithm_is_refused_at_once():
    other = find_algorithm("spos").preset("small")
    for name in ("pcnas", "autospace"):
        with pytest.raises(ConstraintError, match="the preset is not one of"):
            SearchSettings("s", "digits", ("macs<=3M",), TargetSpec(), name, other)
