"""The phases that a search announces, counted by hand; nothing is trained."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from small_problems import fill, small_settings

from nascli.costmodel import parse_constraint
from nascli.pipeline.run.search_plan import search_phases
from nascli.pipeline.run.settings import SearchSettings, choose_preset
from nascli.profiles.target import TargetSpec
from nascli.search.problem import SpaceRequest
from nascli.spaces.catalog import load_space_of_any_kind

TRACES = Path(__file__).parents[2] / "data" / "progress_traces.json"
# As many as 10 steps of 100 images.
IMAGES = SimpleNamespace(train=range(1000), validation=range(200))
FINAL = [f"training {name} from scratch" for name in ("winner", "random", "largest")]


def phases_of(algorithm, space, *changes, budgets=("macs<=1G",), measure=False, has_latency=False):
    preset, _ = choose_preset(algorithm, changes=["batch=100", "retraining.batch=100", *changes])
    settings = SearchSettings(
        space, "digits", budgets, TargetSpec(), algorithm=algorithm, preset=preset, measure=measure
    )
    request = SpaceRequest(
        load_space_of_any_kind(space), IMAGES, tuple(parse_constraint(text) for text in budgets)
    )
    return search_phases(settings, request, has_latency=has_latency)


def tasks(phases):
    return [(phase.task, phase.steps) for phase in phases]


def test_a_counted_search_trains_searches_and_retrains():
    phases = phases_of(
        "spos",
        "proxyless-mini",
        "supernet.epochs=3",
        "evolution.population=6",
        "evolution.generations=4",
        "retraining.epochs=5",
    )
    assert tasks(phases) == [
        ("training the supernet", 30),
        ("searching", 24),
        *((task, 50) for task in FINAL),
    ]
    # Supernet and networks share the time that an image takes.
    assert {(phase.rate, phase.work) for phase in phases if phase.rate == "training"} == {("training", 100)}


def test_a_measured_winner_and_images_of_the_final_training_are_counted():
    phases = phases_of("random", "proxyless-mini", "retraining.epochs=1", "final_on=all", measure=True)
    assert tasks(phases)[1:] == [
        ("searching", 80),
        ("measuring networks", 3),
        *((task, 12) for task in FINAL),
    ]


def test_a_low_bit_space_has_one_baseline():
    assert [task for task, _ in tasks(phases_of("spos", "spos-resnet18-bits-mini"))][-2:] == FINAL[:2]


def test_the_table_is_a_phase_as_far_as_the_store_lacks_it(tmp_path):
    for store, missing in ((fill(tmp_path / "full.sqlite"), False), (tmp_path / "empty.sqlite", True)):
        settings = small_settings(store, "latency<=1s")
        request = SpaceRequest(load_space_of_any_kind(settings.space), IMAGES, settings.constraints)
        first, *others = search_phases(settings, request, has_latency=True)
        assert first.task.startswith("measuring operators" if missing else "training the supernet")
        if missing:
            assert first.steps > 10 and first.seconds == pytest.approx(0.35 * first.steps)
        assert [phase.task for phase in others].count("measuring networks") == 2


def test_pcnas_announces_each_layer_and_trains_its_finalists():
    changes = [
        "pcnas.pool=2",
        "pcnas.draws=3",
        "pcnas.warmup=4",
        "pcnas.interval=1",
        "finalists=2",
        "retraining.epochs=1",
    ]
    phases = tasks(phases_of("pcnas", "pcnas-small-mini", *changes))
    layers = load_space_of_any_kind("pcnas-small-mini").layers
    assert phases[0] == ("warming the supernet up", 40)
    # The first pool has one empty model, all others two.
    assert phases[1] == ("evaluating potentials", 3 * len(layers[0].candidates))
    assert phases[2] == ("training on the pool of layer 1", 10)
    assert phases[3] == ("evaluating potentials", 2 * 3 * len(layers[1].candidates))
    assert phases[2 * len(layers) + 1] == ("evaluating the pool", 2 * len(layers[-1].candidates))
    assert phases[2 * len(layers) + 2 :] == [("training finalist from scratch", 10)] * 2 + [
        (task, 10) for task in FINAL
    ]


def test_nse_announces_its_rounds():
    phases = tasks(phases_of("nse", "nse-19-mini", "nse.rounds=2", "supernet.epochs=3"))
    assert phases[:4] == [
        ("training the supernet of round 1", 30),
        ("evaluating architectures of round 1", 140),
        ("training the supernet of round 2", 30),
        ("evaluating architectures of round 2", 140),
    ]


def test_a_learned_space_comes_first():
    names = [task for task, _ in tasks(phases_of("nss", "nss-expanded-mini"))]
    assert names[:3] == ["searching for a space", "training the supernet", "searching"]
    first, *_ = phases_of("autospace", "autospace-mini", "autospace.warmup=2", "autospace.evolution=3")
    assert (first.task, first.steps, first.in_parts) == ("evolving cells", 50, True)


@pytest.mark.parametrize(
    ("algorithm", "space"),
    [("spos", "proxyless-mini"), ("nse", "nse-19-mini:resolution=8,width=0.1,branches=2")],
)
def test_what_is_announced_is_what_starts(algorithm, space):
    """The tasks of recorded searches are those of the plan, by the beginnings of their names."""
    begun = [
        name.partition(": ")[2] for name in json.loads(TRACES.read_text()) if name.startswith(f"{algorithm}:")
    ]
    planned = [phase.task for phase in phases_of(algorithm, space)]
    assert begun and all(any(task.startswith(phase) for phase in planned) for task in begun)
