import shutil

import numpy as np
import pytest
from simulated_devices import DEVICES, fill_this_machine

from nascli.errors import ConstraintError, DataError, DeviceError, InfeasibleError, StoreError
from nascli.execution import Execution
from nascli.pipeline.run import build_problem as module
from nascli.pipeline.run.build_problem import budget_text, build_problem, named_space
from nascli.pipeline.run.settings import SearchSettings
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.search.problem import SearchContext
from nascli.search.run_folder import RunFolder

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
BITS = "spos-resnet18-bits-mini:width=0.1,resolution=8"


def problem_of(folder, *budgets, space=TINY, data="digits", store=None, device="cpu", **options):
    execution = Execution() if store is None else Execution(store=store)
    target = TargetSpec(device=device, batch=4)
    settings = SearchSettings(space, data, budgets, target, execution=execution, **options)
    named = named_space(settings)
    with RunFolder(folder, settings.to_json()) as run:
        context = SearchContext(settings.effort, 0, data, run, Silent(), nothing_is_measured)
        return build_problem(settings, named, context)


def nothing_is_measured(*args, **options):
    raise AssertionError("something was measured")


@pytest.fixture
def no_measuring(monkeypatch):
    """Whatever asks for the space's latency fails the test."""
    monkeypatch.setattr(module, "measured_costs", nothing_is_measured)


@pytest.mark.usefixtures("no_measuring")
@pytest.mark.parametrize(
    ("budgets", "options", "error", "message"),
    [
        (
            ("latency<=8ms",),
            {"space": BITS},
            ConstraintError,
            "bit widths, which no runtime here can measure",
        ),
        (("bitops<=1G", "latency<=8ms"), {"space": BITS}, ConstraintError, "cannot be kept"),
        (("bitops<=1G",), {"space": BITS, "confidence": 0.9}, ConstraintError, "counted budgets are exact"),
        (("macs<=1G",), {"confidence": 0.9}, ConstraintError, "counted budgets are exact"),
        (("macs<=1",), {}, InfeasibleError, "macs"),
        (("latency<=8ms", "macs<=1"), {}, InfeasibleError, "macs"),
        (("latency@alpha<=8ms",), {}, StoreError, "a constraint on alpha needs a table of it"),
        (("macs<=1G",), {"space": f"{TINY},classes=7"}, DataError, "classes"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_measured(
    tmp_path, budgets, options, error, message
):
    with pytest.raises(error, match=message):
        problem_of(tmp_path / "run", *budgets, **options)


@pytest.mark.usefixtures("no_measuring")
def test_a_low_bit_space_has_a_problem_without_a_latency(tmp_path):
    problem = problem_of(tmp_path / "run", "bitops<=600k", space=BITS)
    assert problem.latency is None and problem.costs.latency is None
    assert set(problem.costs.counted) == {"bitops", "macs"}
    rows = problem.feasible.sample(50, np.random.default_rng(0))
    assert problem.costs.counted["bitops"](rows).max() <= 600_000
    assert problem.latency_window == (-np.inf, np.inf)


@pytest.fixture
def store(tmp_path, tiny):
    path = tmp_path / "s.sqlite"
    fill_this_machine(path, DEVICES["alpha"], tiny)
    return path


@pytest.fixture
def sets_built(monkeypatch):
    """The constraints of each feasible set that is built."""
    built, original = [], module.CostSet.feasible_set

    def counting(self, space, constraints):
        built.append([constraint.name for constraint in constraints])
        return original(self, space, constraints)

    monkeypatch.setattr(module.CostSet, "feasible_set", counting)
    return built


@pytest.mark.usefixtures("no_measuring")
def test_under_counted_budgets_the_feasible_set_is_built_once_and_nothing_is_measured(
    tmp_path, sets_built, monkeypatch
):
    # No device is looked up, no runtime needs to be installed, and there is no table.
    monkeypatch.setattr(TargetSpec, "resolve", nothing_is_measured)
    problem = problem_of(tmp_path / "run", "macs<=150k", "params<=1M", device="h100", store=tmp_path / "none")
    assert sets_built == [["macs", "params"]] and problem.latency is None and problem.costs.latency is None
    assert 0 < problem.feasible.count() < problem.space.size
    assert set(problem.costs.counted) == {"macs", "params"}
    assert not (tmp_path / "none").exists() and not (tmp_path / "run" / "costs.json").exists()


def test_a_run_that_began_with_a_latency_model_keeps_it(tmp_path, store):
    before = problem_of(tmp_path / "run", "latency<=1s", "macs<=150k", store=store)
    (tmp_path / "run" / "settings.json").unlink()
    shutil.move(tmp_path / "run" / "costs.json", tmp_path / "costs.json")
    problem_of(tmp_path / "counted", "macs<=150k", store=store)
    shutil.copy(tmp_path / "costs.json", tmp_path / "counted")
    after = problem_of(tmp_path / "counted", "macs<=150k", store=tmp_path / "none")
    assert after.latency == before.latency
    assert after.costs.latency.to_json() == before.costs.latency.to_json()


def test_a_target_that_is_not_there_is_told_before_a_counted_search_that_measures_its_winner(tmp_path):
    with pytest.raises(DeviceError, match="h100"):
        problem_of(tmp_path / "run", "macs<=150k", device="h100", measure=True)
    with pytest.raises(ConstraintError, match="the winner cannot be timed"):
        problem_of(tmp_path / "bits", "bitops<=1G", space=BITS, measure=True)


def test_under_a_latency_the_set_of_counted_budgets_comes_first(tmp_path, store, sets_built):
    problem = problem_of(tmp_path / "run", "latency<=1s", "macs<=150k", store=store)
    assert sets_built == [["macs"], ["latency", "macs"]]
    assert problem.latency_window == (-np.inf, 1.0) and problem.target.constraint.name == "latency"


def test_a_latency_that_nothing_meets_is_told(tmp_path, store):
    with pytest.raises(InfeasibleError, match="latency"):
        problem_of(tmp_path / "run", "latency<=1ns", store=store)


def test_a_named_space_takes_the_classes_of_the_data_where_it_does_not_say_otherwise():
    def classes(space):
        return named_space(SearchSettings(space, "digits", ("macs<=1G",), TargetSpec())).output.channels

    assert classes(TINY) == 10 and classes(f"{TINY},classes=7") == 7


def test_constraints_in_one_phrase():
    settings = SearchSettings(TINY, "digits", ("macs<=1M", "params<=10k"), TargetSpec())
    first, second = settings.constraints
    assert budget_text(settings.constraints) == f"{first} and {second}"
