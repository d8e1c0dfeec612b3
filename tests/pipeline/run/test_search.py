import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from simulated_devices import DEVICES, truth
from small_problems import fill, measured, ranking, small_settings

from nascli.costmodel import counted
from nascli.errors import RunError
from nascli.pipeline.run import finalists, search
from nascli.pipeline.run.search import run_search
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.train.from_scratch import CandidateTraining
from nascli.progress import Silent
from nascli.search.registry import find_algorithm

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"
BITS = "spos-resnet18-bits-mini:width=0.1,resolution=8"


class FirstRows(type(find_algorithm("spos"))):
    """Ranks rows of the feasible set without training anything."""

    def find(self, problem, context):
        return ranking(problem.feasible.sample(5, np.random.default_rng(0)))


class NothingTrained:
    """Says that each network was trained, in which order, and what came of it."""

    names: list[str]

    def __init__(self, *args):
        NothingTrained.names = []

    def train(self, space, architecture, name):
        NothingTrained.names.append(name)
        return CandidateTraining(0.8, 0.7, 0.9, 0.75)

    def train_and_export(self, space, architecture, name, batch):
        self.train(space, architecture, name)
        return CandidateTraining(0.85, 0.75, 0.95, 0.8, 1e-6)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(SearchSettings, "descriptor", property(lambda self: FirstRows()))
    monkeypatch.setattr(search, "CandidateTrainer", NothingTrained)
    monkeypatch.setattr(finalists, "measure_networks", measured)
    return fill(tmp_path / "s.sqlite")


def test_a_result_tells_the_measured_winner_beside_its_baselines(tmp_path, store):
    settings = small_settings(store, "latency<=1s", "macs<=150k")
    result = run_search(settings, tmp_path / "run", Silent())
    document = result.to_json()
    assert NothingTrained.names == ["winner", "random", "largest"] == ["winner", *result.baselines]
    assert document["codes"] == list(result.winner.architecture) == document["finalists"][0]["codes"]
    assert result.top1 == 0.85 and document["export_max_difference"] == 1e-6
    assert document["evaluations"] == 5 and document["supernet"] == "a made-up supernet"
    assert result.latency == pytest.approx(document["predicted_latency_s"]["value"])
    assert document["device_over_model"] == pytest.approx(0, abs=1e-9) and document["warning"] is None
    latency, macs = result.budget
    assert (latency.value.kind, latency.value.value) == ("measured", result.latency)
    assert (macs.value.kind, macs.value.value) == ("counted", result.winner.costs["macs"])
    # No feasible architecture has more MACs than the second baseline.
    most = result.baselines["largest"].costs["macs"]
    assert result.winner.costs["macs"] <= most <= 150_000


def test_a_result_is_what_its_folder_keeps_and_is_not_searched_twice(tmp_path, store, monkeypatch):
    settings = small_settings(store, "macs<=150k")
    result = run_search(settings, tmp_path / "run", Silent())
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == result.to_json()
    monkeypatch.setattr(search, "build_problem", None)
    assert run_search(settings, tmp_path / "run", Silent()) == result


def test_a_folder_of_other_settings_is_refused(tmp_path, store):
    run_search(small_settings(store, "macs<=150k"), tmp_path / "run", Silent())
    with pytest.raises(RunError, match="settings"):
        run_search(small_settings(store, "macs<=140k"), tmp_path / "run", Silent())


def test_equal_settings_find_the_same_baselines(tmp_path, store):
    first, second = (
        run_search(small_settings(store, "macs<=150k"), tmp_path / name, Silent()) for name in "ab"
    )
    assert first.baselines == second.baselines and first.winner == second.winner


def test_a_device_that_contradicts_the_model_is_warned_of(tmp_path, store, monkeypatch):
    monkeypatch.setattr(
        finalists, "measure_networks", lambda networks, *args, **options: measured(networks, slower=1.5)
    )
    result = run_search(small_settings(store, "latency<=1s"), tmp_path / "run", Silent())
    assert "disagrees with the latency model by +50%" in result.warning
    assert result.to_json()["device_over_model"] == pytest.approx(0.5)


def test_a_low_bit_space_ends_in_counted_costs_and_one_baseline(tmp_path, store):
    result = run_search(small_settings(store, "bitops<=600k", space=BITS), tmp_path / "run", Silent())
    assert result.latency is None and list(result.baselines) == ["random"]
    assert set(result.winner.costs) == {"bitops", "macs", "params"}
    assert result.winner.costs["bitops"] == result.budget[0].value.value <= 600_000
    assert result.to_json()["measured_latency_s"] is None and "finalists" not in result.to_json()


def test_under_counted_budgets_nothing_is_measured_and_both_baselines_are_kept(tmp_path, store, monkeypatch):
    monkeypatch.setattr(finalists, "measure_networks", None)
    result = run_search(small_settings(tmp_path / "none", "macs<=150k"), tmp_path / "run", Silent())
    document = result.to_json()
    assert result.latency is None and result.is_exported
    assert document["measured_latency_s"] is None and "finalists" not in document
    assert NothingTrained.names == ["winner", "random", "largest"] == ["winner", *result.baselines]
    assert set(result.winner.costs) == {"macs", "params"} == set(result.baselines["largest"].costs)
    assert result.winner.costs["macs"] <= result.baselines["largest"].costs["macs"] <= 150_000
    assert not (tmp_path / "none").exists()


def test_where_one_network_is_feasible_there_is_one_baseline(tmp_path, store):
    cheapest = counted(search.named_space(small_settings(store, "macs<=1G")), "macs").minimum
    result = run_search(small_settings(store, f"macs<={cheapest:.0f}"), tmp_path / "run", Silent())
    assert result.feasible_count == 1 and list(result.baselines) == ["random"]


def test_the_winner_and_its_baselines_are_measured_where_it_is_asked_for(tmp_path, store):
    settings = replace(small_settings(store, "macs<=150k"), measure=True)
    result = run_search(settings, tmp_path / "run", Silent())
    document = result.to_json()
    network = search.named_space(settings).network(result.winner.architecture)
    assert result.latency == pytest.approx(truth(network.program, DEVICES["alpha"]))
    assert result.winner.predicted_latency is None and "finalists" not in document
    assert document["setup"]["batch"] == 4 and result.baselines["random"].latency.seconds > 0
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["measure"] is True
    # Without a table: the search had no latency model.
    assert not (tmp_path / "run" / "costs.json").exists()


def test_the_winner_s_latency_is_the_truth_of_its_network(tmp_path, store):
    settings = small_settings(store, "latency<=1s")
    result = run_search(settings, tmp_path / "run", Silent())
    network = search.named_space(settings).network(result.winner.architecture)
    assert result.latency == pytest.approx(truth(network.program, DEVICES["alpha"]))


def test_a_damaged_result_of_a_finished_run_is_told(tmp_path, store):
    settings = small_settings(store, "macs<=150k")
    run_search(settings, tmp_path / "run", Silent())
    shutil.copy(FROZEN / "spos" / "finalists.json", tmp_path / "run" / "result.json")
    with pytest.raises(RunError, match=r"result\.json"):
        run_search(settings, tmp_path / "run", Silent())
