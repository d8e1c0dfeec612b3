import json
from functools import partial

import numpy as np
import pytest
from simulated_devices import DEVICES, add_figures, truth
from small_problems import fill, measured, ranking, small_problem, small_settings

from nascli.errors import InfeasibleError, RunError
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.run import finalists as module
from nascli.pipeline.run.finalists import FINAL_PROTOCOL, CandidateNetworks, select_finalists
from nascli.profiles.protocol import MeasurementProtocol
from nascli.progress import Silent
from nascli.search.run_folder import FINALISTS, RunFolder
from nascli.spaces import make_space
from nascli.spaces.architecture import singleton_space


@pytest.fixture
def store(tmp_path):
    return fill(tmp_path / "s.sqlite")


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the measuring of whole networks."""
    calls = []

    def measure(networks, spec, execution, **options):
        calls.append((networks, options))
        return measured(networks)

    monkeypatch.setattr(module, "measure_networks", measure)
    return calls


def chosen(tmp_path, store, *budgets, rows=6, **options):
    settings = small_settings(store, *budgets, **options)
    with RunFolder(tmp_path / "run", settings.to_json()) as folder:
        problem, context = small_problem(settings, folder)
        candidates = ranking(problem.feasible.sample(rows, np.random.default_rng(0)))
        networks = CandidateNetworks(problem, settings, {}, Silent())
        return select_finalists(candidates, networks, problem, context, {"space": settings.space}), problem


def test_finalists_are_the_best_candidates_with_prediction_and_measurement(tmp_path, store, asked):
    found, problem = chosen(tmp_path, store, "latency<=1s", finalists=3)
    assert len(found) == 3 and all(finalist.within for finalist in found)
    for finalist in found:
        exact = truth(problem.space.network(finalist.evaluation.architecture).program, DEVICES["alpha"])
        assert finalist.latencies.predicted == pytest.approx(exact)
        assert finalist.latencies.measured.seconds == pytest.approx(exact)
    ((networks, options),) = asked
    assert len(networks) == 3 and options["protocol"] is FINAL_PROTOCOL
    space, architectures = options["members"]
    # The store notes them, so that the space's model learns from them.
    assert space is problem.space and architectures == [each.evaluation.architecture for each in found]


def test_finalists_are_measured_more_closely_than_operators():
    usual = MeasurementProtocol()
    assert FINAL_PROTOCOL.target < usual.target and FINAL_PROTOCOL.min_rounds > usual.min_rounds


def test_a_resumed_run_keeps_its_finalists_without_measuring_them_again(tmp_path, store, asked):
    found, _ = chosen(tmp_path, store, "latency<=1s")
    again, _ = chosen(tmp_path, store, "latency<=1s")
    assert again == found and len(asked) == 1


def test_damaged_finalists_are_told_by_their_file(tmp_path, store, asked):
    chosen(tmp_path, store, "latency<=1s")
    (tmp_path / "run" / FINALISTS).write_text(json.dumps({"finalists": [{}]}))
    with pytest.raises(RunError, match=FINALISTS):
        chosen(tmp_path, store, "latency<=1s")


def test_a_device_on_which_no_candidate_keeps_the_budget_ends_the_search(tmp_path, store, monkeypatch):
    monkeypatch.setattr(module, "measure_networks", partial(measured, slower=1000.0))
    with pytest.raises(InfeasibleError, match="keeps the budget of") as caught:
        chosen(tmp_path, store, "latency<=10ms")
    assert caught.value.remedies[0].arguments["space"].startswith("proxyless-mini")
    assert not (tmp_path / "run" / FINALISTS).exists()


def test_where_nothing_can_be_measured_the_first_candidates_are_the_finalists(tmp_path, store, asked):
    bits = "spos-resnet18-bits-mini:width=0.1,resolution=8"
    found, _ = chosen(tmp_path, store, "bitops<=600k", space=bits)
    assert len(found) == 2 and not asked
    assert all(finalist.within and finalist.latencies is None for finalist in found)


def test_a_resized_architecture_is_built_predicted_and_measured_in_its_own_widths(tmp_path, store, asked):
    settings = small_settings(store, "latency<=1s")
    with RunFolder(tmp_path / "run", settings.to_json()) as folder:
        problem, _ = small_problem(settings, folder)
    row, other = (tuple(map(int, row)) for row in problem.feasible.sample(2, np.random.default_rng(1)))
    wider = make_space("proxyless-mini", resolution=8, width=0.5, depth=1)
    networks = CandidateNetworks(problem, settings, {row: wider}, Silent())
    assert networks.is_resized(row) and not networks.is_resized(other)
    assert networks.space_of(row) is wider and networks.space_of(other) is problem.space
    program = wider.network(row).program
    assert networks.network(row).program == program
    # Its own operators are in the table; the space's latency model says nothing about them.
    own, _ = singleton_space(wider, row)
    models = [model for model in space_subjects(own, 16) if model.program.output]
    setup = settings.target.resolve(settings.execution).setup()
    add_figures(store, setup, DEVICES["alpha"], models, rounds=6)
    assert networks.predicted(row) == pytest.approx(truth(program, DEVICES["alpha"]))
    costs = networks.own_costs(row)
    assert set(costs) == {"latency", "fixed"} and costs["fixed"].keys() >= {"stem"}
    networks.measured([row])
    # Networks of other widths are no members of the space.
    assert asked[0][1]["members"] is None and asked[0][0][0].program == program
