"""Two processes search as one: the same candidates and winner; whatever goes wrong in one of them ends both."""

import json

import pytest
from ranks import (
    Ranks,
    computes_in_double,
    dies_in_a_step,
    fails_in_a_step,
    fails_in_an_evaluation,
    has_other_data,
    saves_after_each_step,
    sees_few_images,
)

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
SMALL = [
    "--batch", "2", "--supernet-epochs", "1", "--retrain-epochs", "1",
    # One process has 16 images of a step and the other 15, too few to normalise by their own ones.
    "--set", "supernet.batch=31", "--set", "retraining.batch=31",
    "--set", "finalists=2", "--set", "calibration_images=64",
]  # fmt: skip
GENERATIONS = ["--population", "4", "--generations", "2"]


def changed(group, *values):
    """The options that change hyper-parameters of a group."""
    return [part for value in values for part in ("--set", f"{group}.{value}")]


LEARNED = changed("space_recipe", "batch=31")
SEARCHES = {
    "spos": ["--space", TINY, "--constraint", "macs<=150k", *GENERATIONS],
    "random": ["--space", TINY, "--constraint", "macs<=150k", "--evaluations", "8"],
    "evolution": ["--space", TINY, "--constraint", "macs<=150k", "--evaluations", "8", *GENERATIONS],
    "guided": [
        "--space", TINY, "--constraint", "macs<=150k", "--evaluations", "8", *changed("guidance", "first=4"),
    ],
    "pcnas": ["--space", TINY, "--constraint", "macs<=150k", *changed("pcnas", "pool=2", "draws=3")],
    "proxyless": ["--space", TINY, "--constraint", "macs<=150k"],
    "nse": [
        "--space", "nse-19-mini:resolution=8,width=0.1,branches=2", "--constraint", "macs<=700k",
        *changed("nse", "candidates=3", "samples=6", "beyond=2", "rounds=2"),
    ],
    "nss": [
        "--space", "nss-expanded-mini:resolution=8,widths=16,depths=4", "--constraint", "macs<=1M", *GENERATIONS,
        *changed("nss", "depth_bin=2", "width_bin=4", "drawn=2"), *LEARNED,
    ],
    "autospace": [
        "--space", "autospace-mini:resolution=8,width=0.25", "--constraint", "macs<=400k", *GENERATIONS,
        *changed("autospace", "first_team=2", "last_team=3", "population=6", "cells=2"),
        *changed("autospace", "warmup=1", "evolution=1", "frequency=10", "reference_epochs=1"), *LEARNED,
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A store for all, and a home for either number of processes: searches of one space share its supernet there."""
    folder = tmp_path_factory.mktemp("several")
    return folder / "store.sqlite", {world: folder / f"home{world}" for world in (1, 2)}


def start(places, out, algorithm, *options, world=2, prepare=None):
    store, homes = places
    words = ["search", "--algorithm", algorithm, *SEARCHES[algorithm], *SMALL, *options]
    return Ranks(
        *words, "--store", store, "--out", out, world=world, prepare=prepare, env={"NASCLI_HOME": str(homes[world])}
    )  # fmt: skip


def found(folder):
    """What a search found: the winner, the accuracies of the trained networks, and the evaluations in their order."""
    result = json.loads((folder / "result.json").read_text())
    lines = map(json.loads, (folder / "evaluations.jsonl").read_text().splitlines())
    rows = {"winner": [result["codes"], result["retrained_top1"]]}
    rows |= {name: [row["codes"], row["top1"]] for name, row in result["baselines"].items()}
    return rows, [[line["codes"], line["value"]] for line in lines]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", SEARCHES)
def test_two_processes_find_what_one_finds(tmp_path, places, algorithm):
    for world in (1, 2):
        prepare = dict.fromkeys(range(world), computes_in_double)
        ranks = start(places, tmp_path / f"by{world}", algorithm, world=world, prepare=prepare).finish()
        assert [status for status, _, _ in ranks] == [0] * world, ranks
        # The first process alone tells the user what came out.
        assert "report:" in ranks[0][1] and all(output == "" for _, output, _ in ranks[1:])
    (one, evaluations), (two, shared) = (found(tmp_path / f"by{world}") for world in (1, 2))
    assert shared == evaluations
    assert two == one


@pytest.mark.slow
def test_a_group_that_lost_a_process_goes_on(tmp_path, places):
    calm, hurt = tmp_path / "calm", tmp_path / "hurt"
    few = dict.fromkeys(range(2), sees_few_images)
    assert [status for status, _, _ in start(places, calm, "proxyless", prepare=few).finish()] == [0, 0]
    ranks = start(places, hurt, "proxyless", prepare={0: saves_after_each_step, 1: dies_in_a_step}).finish()
    (first, _, said), (second, _, _) = ranks
    assert second == -9 and first == 1 and "another process ended" in said and "Traceback" not in said
    assert (hurt / "training" / "supernet.safetensors").exists()
    assert [status for status, _, _ in start(places, hurt, "proxyless", prepare=few).finish()] == [0, 0]
    assert found(hurt) == found(calm)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (has_other_data, "the processes have different data: process 0 on"),
        (fails_in_an_evaluation, "this process cannot evaluate."),
        (fails_in_a_step, "this process cannot train."),
    ],
)
def test_what_fails_in_one_process_ends_both_and_is_told_once(tmp_path, places, prepare, words):
    ranks = start(places, tmp_path / "run", "spos", "--seed", "1", prepare={1: prepare}).finish()
    assert [status for status, _, _ in ranks] == [1, 1]
    told = "".join(said for _, _, said in ranks)
    assert told.count(words) == 1 and told.count("error: ") == 1 and "Traceback" not in told


@pytest.mark.slow
def test_a_cluster_and_wrong_usage_are_refused_once(tmp_path, places):
    for options, status, words in (
        (["--ray", "auto"], 1, "share the evaluations of this search"),
        (["--seed", "-1"], 2, "Invalid value for '--seed'"),
    ):
        ranks = start(places, tmp_path / "run", "spos", *options).finish()
        assert [code for code, _, _ in ranks] == [status] * 2
        assert "".join(said for _, _, said in ranks).count(words) == 1
