import pytest
from report_cases import EVALUATED, result, summary

from nascli.report.charts import agreement_chart, bounded_figure, convergence_chart, front_chart


def test_the_axis_is_the_latency_that_was_measured():
    cost = bounded_figure(summary())
    assert (cost.name, cost.is_time, cost.bound) == ("latency", True, 8e-3)
    assert cost.text(8e-3) == "8.00 ms" and cost.axis.format(8e-3) == "8"


def test_the_axis_of_a_run_without_measurements_is_its_first_constraint():
    budget = {**result()["budget"][0], "cost": "bitops", "device": None, "high": 4e7}
    baselines = {"random": {"top1": 0.9, "top1_interval": [0.8, 0.95], "costs": {"macs": 5, "params": 6}}}
    run = summary(measured_latency_s=None, budget=[budget], costs={"bitops": 3.9e7}, baselines=baselines)
    cost = bounded_figure(run)
    assert (cost.name, cost.is_time, cost.bound) == ("bitops", False, 4e7)
    assert cost.text(4e7) == "40.0M bitops"
    assert "winner: 39.0M bitops, 90.00%" in front_chart(run, EVALUATED)


def test_the_winner_and_the_front_are_marked():
    svg = front_chart(summary(), EVALUATED)
    assert "winner: 7.20 ms, 90.00%" in svg and "front: 7.00 ms, 90.00%: mbconv b" in svg
    assert svg.count('class="dot"') == 2 and "budget 8.00 ms" in svg


def test_everything_that_was_measured_is_compared():
    run = summary()
    svg = agreement_chart(run, run.latency)
    for name in ("finalist", "random", "largest"):
        assert f"<title>{name}: predicted 5.00 ms, measured 5.00 ms</title>" in svg
    assert "<title>winner: predicted 7.20 ms, measured 7.00 ms</title>" in svg


@pytest.mark.parametrize("number", [1, 2])
def test_evaluations_are_numbered(number):
    assert f"evaluation {number}: {EVALUATED[number - 1].top1:.2%}" in convergence_chart(EVALUATED)
