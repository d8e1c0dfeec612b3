import doctest
import inspect
import json
import pydoc
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import nascli
from nascli import api
from nascli.costmodel import parse_constraint
from nascli.costmodel.budgets import CostSet
from nascli.errors import (
    ConstraintError,
    InfeasibleError,
    MissingMeasurementsError,
    SpaceError,
    StoreError,
)
from nascli.execution import Execution
from nascli.lut import Sample, Setup, Store, program_key
from nascli.lut.in_context.carriers import subjects_in_context
from nascli.paths import default_store
from nascli.pipeline.measure.network_calibration import calibrate_space
from nascli.pipeline.measure.prediction import predict_network
from nascli.pipeline.run.measured_costs import measured_costs
from nascli.pipeline.run.settings import SearchSettings, choose_preset
from nascli.pipeline.tables.lookup import read_table_of
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.profiling import network_operator
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.search.run_folder import RunFolder
from nascli.spaces import Architecture
from nascli.spaces.catalog import load_space_of_any_kind


@pytest.mark.usefixtures("quick_measuring")
def test_a_study_in_a_few_lines():
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    table = nascli.profile(space, batch=2)
    cost = nascli.latency(space, table)
    middle = (cost.minimum + cost.maximum) / 2
    budget = nascli.constrain(space, f"latency<={middle * 1e6}us", "macs<=1G", latency=cost)
    assert 0 < budget.count() < space.size
    codes = budget.sample(100, np.random.default_rng(0))
    assert cost(codes).max() <= middle
    assert nascli.space("nse-27-mini").multi_branch
    with pytest.raises(ConstraintError, match=r"needs latency=\.\.\."):
        nascli.constrain(space, "latency=8ms")
    with pytest.raises(AttributeError):
        nascli.nothing  # noqa: B018


def test_a_calibrated_space_is_predicted_measured_and_searched(tmp_path):
    spec = "proxyless-mini:resolution=8,width=0.25,depth=1"
    space, store = nascli.space(spec), tmp_path / "own.sqlite"
    options = {"batch": 2, "store": store}
    calibration = nascli.calibrate(space, networks=12, **options)
    assert calibration.cost.kind == "calibrated" and calibration.networks <= 12
    architecture = Architecture.of(space, space.sample(1, np.random.default_rng(3)))
    prediction = nascli.predict(architecture, **options)
    assert prediction.kind == "calibrated" and prediction.low < prediction.seconds < prediction.high
    architecture.save(tmp_path / "a.json")
    assert nascli.predict(str(tmp_path / "a.json"), **options) == prediction
    narrower = nascli.predict(architecture, confidence=0.5, **options)
    assert narrower.low >= prediction.low and narrower.confidence == 0.5
    # A bare network belongs to no space: its own operators are summed.
    assert nascli.predict(architecture.network, **options).kind == "measured"
    measured = nascli.measure(architecture.network, **options)
    assert measured.low <= measured.seconds <= measured.high and measured.rounds > 0
    assert not default_store().exists()
    with pytest.raises(ConstraintError, match="a fixed list, but 12 are asked for"):
        nascli.calibrate(networks=12)

    budget = nascli.constrain(space, "latency<=1s", parse_constraint("macs<=1G"), latency=calibration.cost)
    quick = {"population": 4, "generations": 2}
    preset, _ = choose_preset("spos", supernet_epochs=1, retrain_epochs=1, searcher=quick)
    result = nascli.search(space, budget, preset=preset, out=tmp_path / "run", confidence=0.8, **options)
    assert 0 < result.latency < 1 and 0 <= result.top1 <= 1
    assert result.network(torch.zeros(1, 1, 8, 8)).shape == (1, 10)
    assert result.to_json()["constraints"] == ["latency<=1.0s", "macs<=1000000000.0"]
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert settings["where"]["device"] == "cpu" and settings["space"] == space.spec
    again = nascli.search(spec, budget, preset=preset, out=tmp_path / "run", confidence=0.8, **options)
    assert again.to_json() == result.to_json()
    with pytest.raises(SpaceError, match="the budget is one of proxyless-mini:"):
        nascli.search("proxyless-mini", budget)


@pytest.mark.usefixtures("quick_measuring")
def test_a_whole_target_may_be_named(tmp_path):
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    target = TargetSpec(batch=3, runtime="ort-cpu")
    network = space.network([0] * len(space.layers))
    table = nascli.profile(network, target=target, store=str(tmp_path / "s.sqlite"))
    assert table.setup.batch == 3 and table.setup.runtime == "ort-cpu"
    assert nascli.predict(network, target=target, store=tmp_path / "s.sqlite").setup == table.setup
    with pytest.raises(MissingMeasurementsError, match="no latency for"):
        nascli.latency(space, table)


def test_the_function_and_the_package_of_one_name():
    """Whatever was imported before: a subpackage is bound to its name when it is first imported."""
    code = (
        "import nascli, nascli.search.journal\n"
        "assert nascli.search.journal.Journal and callable(nascli.search)\n"
        "try: nascli.search('proxyless-mini', 'speed=8ms')\n"
        "except nascli.errors.UnknownNameError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "unknown cost 'speed'" in done.stdout


def test_help_of_the_function_that_is_also_a_package():
    assert inspect.signature(nascli.search) == inspect.signature(api.search)
    assert inspect.getdoc(nascli.search) == inspect.getdoc(api.search)
    assert "Find the most accurate network within a budget" in pydoc.render_doc(nascli.search)
    code = "import sys, nascli; assert not {'numpy', 'nascli.api'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def runs(monkeypatch):
    """The settings that reach the search, which itself is left out."""
    settings = []
    monkeypatch.setattr("nascli.pipeline.run.search.run_search", lambda made, *_: settings.append(made))
    return settings


def test_a_space_of_stages_is_searched_by_name_and_as_an_object(runs):
    spec = "nss-expanded-mini:widths=16,depths=3"
    nascli.search(spec, "macs<=2M", algorithm="nss")
    nascli.search(load_space_of_any_kind(spec), "macs<=2M", algorithm="nss")
    assert [run.space for run in runs] == [spec, "nss-expanded-mini:depths=3,widths=16"]
    with pytest.raises(SpaceError, match="the budget is one of proxyless-mini, not of nss-expanded-mini"):
        nascli.search(spec, nascli.constrain("proxyless-mini", "macs<=8M"), algorithm="nss")


def test_an_algorithm_that_needs_layers_refuses_stages(tmp_path):
    with pytest.raises(ConstraintError, match="nss-expanded-mini is"):
        nascli.search("nss-expanded-mini", "macs<=2M", algorithm="spos", out=tmp_path / "run")


def test_a_search_records_the_space_in_the_words_of_the_user(runs, tmp_path):
    """A run that the command line began goes on, which recorded the same words."""
    spec = "proxyless-mini:width=0.25,depth=1,resolution=8"
    nascli.search(spec, "macs<=1G")
    own = "examples/my_space.py:ghosts"
    nascli.search(str(Path(nascli.__file__).parent.parent / own), "macs<=1G")
    assert runs[0].space == spec and runs[1].space.endswith(own)
    # A run that was begun with the object recorded the space's own specification.
    made = nascli.space(spec)
    with RunFolder(tmp_path / "run", {"space": made.spec}):
        pass
    nascli.search(spec, "macs<=1G", out=tmp_path / "run")
    assert runs[2].space == made.spec != spec


def test_a_budget_made_on_one_device_is_not_applied_to_another(runs):
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    macs = nascli.constrain(space, "macs<=1G").budgets[0].cost
    here = replace(macs, name="latency", dimension="time", device=this_cpu().key)
    there = replace(here, device="titanxp")
    on_cpu = nascli.constrain(space, f"latency<={here.maximum}s", latency=here)
    on_card = nascli.constrain(space, f"latency<={here.maximum}s", latency=there)
    for options in ({"device": "t4"}, {"target": TargetSpec(device="t4")}):
        with pytest.raises(ConstraintError, match=r"latency on cpu.*, and the search measures on t4"):
            nascli.search(space, on_cpu, **options)
    with pytest.raises(ConstraintError, match="latency on titanxp, and the search measures on cpu"):
        nascli.search(space, on_card, target=TargetSpec())
    assert not runs
    for options in ({}, {"device": "cpu"}, {"device": this_cpu().key}, {"target": TargetSpec()}):
        nascli.search(space, on_cpu, **options)
    nascli.search(space, on_card, device="titanxp:1")
    nascli.search(space, on_card)
    # Counts are the same on all devices.
    nascli.search(space, nascli.constrain(space, "macs<=1G"), device="t4")
    devices = [run.target.device for run in runs]
    assert devices == ["cpu", "cpu", this_cpu().key, "cpu", "titanxp:1", "titanxp", "t4"]


@pytest.mark.parametrize(
    ("budget", "options", "message"),
    [
        (None, {}, "a budget consists of constraints.*got None"),
        (8, {}, "a budget consists of constraints.*got 8"),
        (["macs<=8M", 3], {}, "a budget consists of constraints.*got 3"),
        ([], {}, "at least one constraint"),
        ("macs<=8M", {"seed": -1}, "a seed is an integer of at least 0, got -1"),
        ("macs<=8M", {"seed": 0.5}, "a seed is an integer of at least 0, got 0.5"),
        ("macs<=8M", {"confidence": 2}, "a confidence lies between 0 and 1, got 2"),
        ("macs<=8M", {"confidence": float("nan")}, "a confidence lies between 0 and 1, got nan"),
        ("macs<=8M", {"confidence": "high"}, "a confidence lies between 0 and 1, got 'high'"),
    ],
)
def test_wrong_arguments_of_a_search_are_refused_before_any_work(runs, budget, options, message):
    with pytest.raises(ConstraintError, match=message):
        nascli.search("proxyless-mini", budget, **options)
    assert not runs


def test_examples_of_the_interface():
    failed, tried = doctest.testmod(api, extraglobs={"nascli": nascli, "np": np})
    assert failed == 0 and tried > 5


def test_a_user_sees_the_types():
    """mypy checks what a user writes together with the package: `make types`, which `make test` begins with."""
    root = Path(__file__).parent.parent
    mypy = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["mypy"]
    user = "tests/data/typed_user.py"
    assert mypy["strict"] and mypy["files"] == ["nascli", user] and (root / user).exists()
    rules = (root / "Makefile").read_text()
    assert re.search(r"^test:.* types$", rules, re.M) and "\n\t$(BIN)/mypy\n" in rules


def where(batch=2):
    return TargetSpec(batch=batch)


@pytest.mark.usefixtures("quick_measuring")
def test_a_second_device_bounds_the_same_search():
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    table = nascli.profile(space, batch=2)
    with pytest.raises(StoreError, match=r"a constraint on titanxp needs a table of it.*found: none"):
        read_table_of(where(), Execution(), "titanxp")
    with Store(default_store()) as store:
        setup = Setup("titanxp", "tensorrt", "10", "fp32", 2, 1)
        store.add_setup(setup, {})
        for operator in subjects_in_context(space.distinct_placements()):
            if operator.program.output:
                for number in range(6):
                    seconds = np.full(3, 1e-5 * len(operator.program.nodes))
                    store.add_sample(setup, program_key(operator.program), Sample(number, seconds, 1e-3, 0.0))
    here, there = (
        nascli.latency(space, table),
        nascli.latency(space, read_table_of(where(), Execution(), "titanxp")),
    )
    # This machine has two names, whatever is measured on besides.
    card = replace(where(), device="titanxp")
    assert (
        read_table_of(card, Execution(), "cpu").digest
        == read_table_of(card, Execution(), this_cpu().key).digest
        == table.digest
    )
    texts = (
        f"latency<={here.maximum * 1e6}us",
        f"latency@titanxp<={(there.minimum + there.maximum) * 5e5}us",
    )
    constraints = SearchSettings("proxyless-mini", "digits", texts, where()).constraints
    assert [c.device for c in constraints] == [None, "titanxp"]
    model = CostSet({}, here, {"titanxp": there})
    bounds = model.bounds(constraints)
    assert [b.cost for b in bounds] == [here, there]


def test_a_bound_is_held_against_its_own_device():
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    macs = nascli.constrain(space, "macs<=1G").budgets[0].cost
    here = replace(macs, name="latency", dimension="time", device=this_cpu().key)
    there = replace(here, device="titanxp", unary=tuple(2 * values for values in here.unary))
    texts = (f"latency@titanxp<={there.maximum}s", f"latency@cpu<={here.maximum}s")
    both = nascli.constrain(space, *texts, latency=[here, there])
    assert [budget.cost.device for budget in both.budgets] == ["titanxp", this_cpu().key]
    with pytest.raises(ConstraintError, match=r"latency@titanxp .* needs latency=\.\.\. of one device"):
        nascli.constrain(space, *texts, latency=here)
    with pytest.raises(ConstraintError, match="of one device"):
        nascli.constrain(space, "latency<=1s", latency=[here, there])
    with pytest.raises(ConstraintError, match="the same on every device"):
        nascli.constrain(space, "macs@titanxp<=1G")


def test_hints_of_a_budget_with_room_can_be_followed():
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    macs = nascli.constrain(space, "macs<=1G").budgets[0].cost
    scale = 1e-3 / macs.minimum
    unary = tuple(values * scale for values in macs.unary)
    cost = replace(
        macs, name="latency", dimension="time", offset=macs.offset * scale, unary=unary, kind="calibrated"
    )
    model = CostSet({}, cost, margin=0.1)

    def feasible(text):
        return model.feasible_set(space, SearchSettings("x", "digits", (text,), where()).constraints)

    with pytest.raises(InfeasibleError, match=r"with room for the model's error of ±10\.0%") as caught:
        feasible(f"latency<={cost.minimum * 1.05}s")
    assert f"Allow at least {cost.format_bound(cost.minimum, 1)}" in str(caught.value)
    assert "ask for 1.100 times as much" in str(caught.value)
    assert feasible(f"latency<={cost.minimum * 1.101}s").count() > 0
    with pytest.raises(ConstraintError, match=r"narrower than the model's interval of ±10\.0%"):
        feasible(f"{cost.minimum * 1.5}s<=latency<={cost.minimum * 1.6}s")


@pytest.mark.usefixtures("quick_measuring")
def test_eight_networks_give_a_figure_and_say_why_no_interval(tmp_path):
    """A search leaves as many as it measured."""
    space = nascli.space("proxyless-mini", resolution=8, width=0.25, depth=1)
    table = nascli.profile(space, batch=2)
    cost, rng = nascli.latency(space, table), np.random.default_rng(0)
    with Store(default_store()) as store:
        for number, row in enumerate(space.sample(9, rng)):
            network = network_operator(space.network(row))
            if number == 8:
                Architecture.of(space, row).save(tmp_path / "a.json")
                break
            key = program_key(network.program)
            store.add_operators([network])
            store.add_networks(space.digest, {key: row.tolist()})
            for round_ in range(6):
                seconds = np.full(3, float(cost(row[None])[0]) * (1 + 0.02 * rng.standard_normal()))
                store.add_sample(table.setup, key, Sample(round_, seconds, 1.0, 1.0 + round_))
    known = predict_network(tmp_path / "a.json", where(), Execution(), confidence=0.9)
    assert known.kind == "calibrated" and known.low is known.high is None
    assert known.no_interval.startswith("8 networks give intervals of at most 89%")
    assert predict_network(tmp_path / "a.json", where(), Execution(), confidence=0.8).low is not None


@pytest.mark.usefixtures("quick_measuring")
def test_a_search_uses_the_calibration_and_a_run_keeps_what_it_began_with(tmp_path):
    spec = "proxyless-mini:resolution=8,width=0.25,depth=1"
    settings = SearchSettings(spec, "digits", ("latency<=1s",), where(3))
    space = nascli.space(settings.space)

    def model(name):
        with RunFolder(tmp_path / name, {"settings": name}) as folder:
            return measured_costs(settings, space, {}, folder, Silent())

    before, source = model("before")
    assert before.latency.kind == "measured" and "calibrated" not in source.model
    calibrate_space(space, where(3), Execution(), networks=12, seed=0, progress=Silent())
    after, source = model("after")
    assert after.latency.kind == "calibrated" and "calibrated on" in source.model
    again, _ = model("before")
    assert again.latency.kind == "measured" and again.latency.offset == before.latency.offset
