import pytest
from report_cases import result

from nascli.report.run_summary import RunSummary


def test_old_results_lack_what_came_later():
    document = result()
    for name in ("evidence", "measured_again_s", "warning", "finished_on"):
        document.pop(name, None)
    for budget in document["budget"]:
        del budget["here"], budget["kind"]
    run = RunSummary.from_json(document)
    assert run.latency.quality.models == 0 and run.latency.measured_again is None
    assert run.warning is None and run.finished_on is None
    assert run.budgets[0].is_here and run.budgets[0].kind == "-" and run.budgets[0].is_kept


def test_what_nothing_measured_has_counted_costs():
    document = result(measured_latency_s=None, costs={"bitops": 4e7})
    document["baselines"] = {
        "random": {"top1": 0.9, "top1_interval": [0.8, 0.95], "costs": {"macs": 5, "params": 6}}
    }
    del document["predicted_latency_s"], document["finalists"]
    run = RunSummary.from_json(document)
    assert run.latency is None and run.winner.measured is None and run.winner.costs == {"bitops": 4e7}
    assert (run.baselines["random"].macs, run.baselines["random"].params) == (5, 6)


def test_what_is_no_result_is_refused():
    with pytest.raises(KeyError):
        RunSummary.from_json({"space": "s"})
