"""Plans of searches: every number, and nothing that runs."""

import json

import pytest
from commanding import TINY

from nascli.errors import ConstraintError, UnknownNameError
from nascli.pipeline.run.plan import plan_search
from nascli.pipeline.run.settings import choose_preset
from nascli.supernet.data.options import DataOptions

SPACES = {
    "spos": TINY,
    "random": TINY,
    "pcnas": "pcnas-small-mini:resolution=8,width=0.25",
    "proxyless": TINY,
    "nse": "nse-27",
    "nss": "nss-expanded",
    "autospace": "autospace-mini:resolution=8,width=0.25",
}


def plan(algorithm, *budgets, preset="paper", changes=(), **options):
    made, _ = choose_preset(algorithm, preset, changes=changes, budgets=budgets)
    given = {"space": SPACES[algorithm], "data": "digits", **options}
    return plan_search(algorithm, made, constraints=budgets, **given)


def phases(found):
    return [(phase.group, phase.epochs, phase.trainings) for phase in found.phases]


def test_where_the_validation_part_is_trained_on_steps_count_it():
    found = plan("pcnas")
    images = [(phase.title.split()[0], phase.trainings, phase.on) for phase in found.phases]
    assert images == [
        ("supernet,", 1, "train"),
        ("finalists", 5, "train"),
        ("winner", 1, "all"),
        ("baselines", 2, "all"),
    ]
    # Of 1,797 digits, a fifth is the test part, and a fifth of the rest is held out.
    assert (found.images, found.held_out) == (1078, 359)
    assert [phase.steps for phase in found.phases][1:] == [300 * (1078 // 512)] + [300 * (1437 // 512)] * 2
    small = plan("pcnas", preset="small")
    assert [phase.title.split()[0] for phase in small.phases] == ["supernet,", "finalists", "baselines"]
    half = plan("spos", options=DataOptions(validation=0.5))
    assert half.images < found.images and half.held_out > found.held_out


@pytest.mark.parametrize("algorithm", SPACES)
def test_every_algorithm_has_a_plan(algorithm):
    document = json.loads(json.dumps(plan(algorithm).to_json(), allow_nan=False))
    assert document["algorithm"] == algorithm and document["recipes"] and document["phases"]
    names = {recipe["name"] for recipe in document["recipes"]}
    assert None not in names


def test_the_plan_of_spos():
    found = plan("spos", "macs<=150k")
    assert found.settings["settings.population"] == 50 and found.settings["calibration_images"] == 20_000
    assert found.figures["evaluations, at most"] == 1000
    assert phases(found) == [("supernet", 120, 1), ("retraining", 240, 1), ("retraining", 240, 2)]
    # 1,078 training images are one step of 1,024.
    assert (found.images, found.phases[0].steps) == (1078, 120)
    given = plan("spos", "macs<=150k", supernet="s.safetensors")
    assert [phase.group for phase in given.phases] == ["retraining", "retraining"]


def test_the_plan_of_nse_resolves_what_follows_from_the_budget():
    found = plan("nse", "300M<=macs<=350M")
    figures = found.figures
    assert figures["candidates a layer (K)"] == 5
    assert figures["rounds, if each keeps one operation of a layer"] == 6
    assert figures["target of macs (tau)"] == 300e6
    assert figures["alpha, for macs in millions"] == pytest.approx(1e-5)
    assert figures["exponent of the excess (beta)"] == 2
    assert phases(found)[:2] == [("supernet", 100, 6), ("retraining", 350, 5)]
    assert {recipe.group: recipe.name for recipe in found.recipes} == {"supernet": "nse", "retraining": "nse"}
    assert found.recipes[1].values["weight_decay"] == 4e-5


def test_under_latency_nse_has_six_candidates_and_more_weight_decay():
    found = plan("nse", "latency=7ms", space="nse-19")
    assert found.figures["candidates a layer (K)"] == 6
    assert found.figures["rounds, if each keeps one operation of a layer"] == 3
    # alpha of appendix B is 2e-2 at a target of 7 ms, here the lower end of the window.
    figures = plan("nse", "7ms<=latency<=8ms", space="nse-19").figures
    assert figures["alpha, for latency in milliseconds"] == pytest.approx(2e-2)
    assert found.recipes[1].name == "nse-latency" and found.recipes[1].values["weight_decay"] == 1e-4
    # What the user says counts.
    own = plan("nse", "latency=7ms", space="nse-19", changes=["retraining.weight_decay=2e-4"])
    assert own.recipes[1].name is None and own.recipes[1].values["weight_decay"] == 2e-4
    small = plan("nse", "latency=7ms", preset="small", space="nse-19-mini")
    assert small.recipes[1].name == "small"


def test_the_plans_of_the_other_papers():
    layers = 7 + 3
    pcnas = plan("pcnas")
    layers = pcnas.figures["layers that are decided"]
    assert phases(pcnas)[:2] == [("supernet", 100 + 5 * layers, 1), ("retraining", 300, 5)]
    nss = plan("nss")
    assert nss.figures["network spaces"] == 2**18
    assert phases(nss)[:2] == [("space_recipe", 90, 1), ("supernet", 90, 1)]
    autospace = plan("autospace")
    assert phases(autospace)[:2] == [("space_recipe", 160, 1), ("supernet", 120, 1)]


def test_data_that_is_not_here_leaves_steps_open(tmp_path):
    for data in (f"cifar10:{tmp_path}", f"imagenet:{tmp_path / 'nowhere'}"):
        found = plan("spos", data=data)
        assert found.images is None and found.no_images
        assert {phase.steps for phase in found.phases} == {None}


def test_what_cannot_be_searched_has_no_plan():
    with pytest.raises(ConstraintError, match="needs a multi-branch space"):
        plan("nse", space=TINY)
    with pytest.raises(UnknownNameError, match="unknown data set"):
        plan("spos", data="magic")
