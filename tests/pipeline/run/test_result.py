import json
import math
from pathlib import Path

import pytest

from nascli.costmodel import Constraint
from nascli.costmodel.budgets import CostValue
from nascli.errors import RunError
from nascli.pipeline.run.result import BudgetValue, SearchResult, read_result, versions
from nascli.version import __version__

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"
RUNS = sorted(path.name for path in FROZEN.iterdir())


def document_of(run):
    return json.loads((FROZEN / run / "result.json").read_text())


@pytest.mark.parametrize("run", RUNS)
def test_a_finished_run_comes_back_as_it_was_written(run):
    document, result = document_of(run), read_result(FROZEN / run)
    assert result.to_json() == document and result.folder == FROZEN / run
    assert [row.to_json() for row in result.budget] == document["budget"]
    assert SearchResult.from_json(json.loads(json.dumps(result.to_json())), FROZEN / run) == result


@pytest.mark.parametrize("run", RUNS)
def test_typed_fields_of_a_result_are_the_document_s(run):
    document, result = document_of(run), read_result(FROZEN / run)
    winner = result.winner
    assert winner.architecture == tuple(document["codes"])
    assert (winner.costs["macs"], winner.costs["params"]) == (document["macs"], document["params"])
    assert result.top1 == winner.top1 == document["retrained_top1"]
    assert winner.top1_interval == tuple(document["retrained_top1_interval"])
    assert result.latency == document["measured_latency_s"]
    assert (result.feasible_count, result.evaluations) == (
        document["feasible_count"],
        document["evaluations"],
    )
    assert result.feasible_exact is document["feasible_count_exact"]
    assert list(result.baselines) == list(document["baselines"])
    for name, row in document["baselines"].items():
        baseline = result.baselines[name]
        assert baseline.architecture == tuple(row["codes"]) and baseline.top1 == row["top1"]
        assert baseline.validation_top1 == row["validation_top1"]
        assert baseline.predicted_latency == row.get("predicted_latency_s")
    assert list(result.architecture.choices) == document["codes"]


def test_a_measured_winner_has_its_interval_and_its_prediction():
    document, winner = document_of("spos"), read_result(FROZEN / "spos").winner
    assert [winner.latency.low, winner.latency.high] == document["measured_interval_s"]
    assert winner.predicted_latency == document["predicted_latency_s"]["value"]


def test_a_winner_that_nothing_measures_has_counted_costs_and_no_latency():
    document, result = document_of("bits"), read_result(FROZEN / "bits")
    assert result.latency is result.winner.latency is result.winner.predicted_latency is None
    assert result.winner.costs == document["costs"] and "bitops" in result.winner.costs
    assert result.baselines["random"].costs == document["baselines"]["random"]["costs"]


def test_a_budget_of_another_device_keeps_its_device_and_its_open_end():
    value = BudgetValue(
        Constraint("latency", -math.inf, 3e-3, "titanxp"), "titanxp", CostValue(2e-3, "imported")
    )
    document = value.to_json()
    assert (document["here"], document["low"], document["high"]) == (False, None, 3e-3)
    assert BudgetValue.from_json(document) == value
    here = BudgetValue(Constraint("latency", 1e-3, math.inf), "cpu", CostValue(2e-3, "measured"))
    assert here.to_json()["here"] is True and BudgetValue.from_json(here.to_json()) == here


def test_a_folder_without_a_result_says_how_to_finish_it(tmp_path):
    with pytest.raises(RunError, match=r"is not a finished run: it has no result\.json") as caught:
        read_result(tmp_path)
    assert caught.value.remedies[0].arguments == {"out": tmp_path}


@pytest.mark.parametrize("field", ["codes", "retrained_top1", "baselines", "feasible_count", "budget"])
def test_a_result_that_lacks_a_field_is_named_as_damaged(tmp_path, field):
    document = document_of("spos")
    del document[field]
    (tmp_path / "result.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=r"result\.json"):
        read_result(tmp_path)


def test_versions_name_what_is_installed_and_what_is_not():
    found = versions(("numpy", "no-such-package-anywhere"))
    assert found["nascli"] == __version__ and found["numpy"][0].isdigit()
    assert found["no-such-package-anywhere"] == "not installed"
