import xml.etree.ElementTree as ET

import pytest
from report_cases import BLOCKS, EVALUATED, result

from nascli.report.network_drawing import DrawnBlock
from nascli.report.run_page import render
from nascli.report.svg import ChartAxis, Series, chart, nice_ticks, pareto_front


def test_ticks_are_round_and_inside():
    assert nice_ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert nice_ticks(0.93, 0.97) == pytest.approx([0.93, 0.94, 0.95, 0.96, 0.97])
    assert nice_ticks(3, 3) == [3]


def test_front_by_hand():
    points = [(1, 0.5), (2, 0.4), (3, 0.9), (3, 0.8), (4, 0.9), (5, 0.95)]
    assert pareto_front(points) == [(1, 0.5), (3, 0.9), (5, 0.95)]


def test_charts_are_valid_and_escape_their_text():
    text = chart(
        "<script>",
        ChartAxis("<b>", str),
        ChartAxis("&", str),
        [Series([(1.0, 2.0, "<img>")], "dot"), Series([(1.0, 2.0, ""), (2.0, 3.0, "")], "line", line=True)],
        [(1.5, "<x>")],
    )
    root = ET.fromstring(text)
    assert "<script>" not in text and "<img>" not in text
    (circle,) = root.iter("circle")
    assert 0 < float(circle.get("cx")) < 560 and 0 < float(circle.get("cy")) < 340


def test_the_page_says_the_answer_first_and_loads_nothing():
    page = render(result(), EVALUATED, BLOCKS)
    body = page[page.index("<body") :]
    answer = body.index("7.00 ms measured for latency=8ms: 93.00% top-1")
    assert (
        answer < body.index("Budgets") < body.index("Convergence") < body.index("Where the figures come from")
    )
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert page.count("<svg") == 4 and "prefers-color-scheme: dark" in page


def test_hostile_names_are_shown_harmless():
    evil = "<script>alert(1)</script>"
    page = render(
        result(space=evil, data=evil, constraints=[evil], algorithm=evil, versions={evil: evil}),
        EVALUATED,
        [DrawnBlock(evil, evil, evil, 1, 1.0, 1, False)],
    )
    assert "<script" not in page and "&lt;script&gt;" in page


def budget(**changes):
    return {
        "cost": "latency",
        "device": "cpu",
        "here": True,
        "low": None,
        "high": 8e-3,
        "value": 7e-3,
        "kind": "measured",
        **changes,
    }


def test_a_search_without_a_latency_bound_has_a_report_too():
    macs = {
        "cost": "macs",
        "device": None,
        "here": True,
        "low": None,
        "high": 2e6,
        "value": 1e6,
        "kind": "counted",
    }
    page = render(result(budget=[macs], constraints=["macs<=2M"]), EVALUATED, BLOCKS)
    assert "1.00M MACs for macs&lt;=2M" in page and 'class="mark"' not in page.split("</style>")[1]
    assert "at most 2.00M macs" in page and "kept" in page


def test_a_bound_on_another_device_is_not_drawn_as_if_it_were_here():
    there = budget(device="v100", here=False, high=1e-3, value=0.9e-3, kind="predicted")
    alone = render(result(budget=[there], constraints=["latency@v100<=1ms"]), EVALUATED, BLOCKS)
    body = alone.split("</style>")[1]
    assert 'class="mark"' not in body and "7.00 ms measured for" not in body
    assert "latency on v100" in body and "900 us" in body and "predicted" in body
    both = render(
        result(budget=[there, budget()], constraints=["latency@v100<=1ms", "latency=8ms"]), EVALUATED, BLOCKS
    )
    assert "budget 8.00 ms" in both and "budget 1.00 ms" not in both


def test_what_a_search_could_not_measure_has_a_page():
    counted = result(
        measured_latency_s=None, costs={"bitops": 4e7, "macs": 1e6, "params": 1e3}, constraints=["bitops<=40M"],
        budget=[budget(cost="bitops", device=None, high=4e7, value=3.9e7, kind="counted")],
        baselines={"random": {"top1": 0.9, "top1_interval": [0.8, 0.95], "costs": {"macs": 5, "params": 6}}},
    )  # fmt: skip
    for gone in ("predicted_latency_s", "measured_interval_s", "export_max_difference", "finalists"):
        del counted[gone]
    blocks = [DrawnBlock("stem", "conv", "1x1x1", 1, 0.0, 5, False)]
    page = render(counted, EVALUATED, blocks, failed=3)
    assert (
        "39.0M bitops for bitops&lt;=40M: 93.00% top-1" in page and "Predicted against measured" not in page
    )
    assert "3 evaluations failed" in page


def test_reasons_are_told_as_far_as_they_were_recorded():
    seen = {
        "models": 80, "settled": 71, "half_interval": 0.004, "halves_apart": None, "throttled": 0, "taken": ["2026-01-01", "2026-01-02"],
        "device": {"model": "A CPU"}, "rounds": 12, "elsewhere_cores": None, "steal": 0.01, "cpu_pressure": None,
    }  # fmt: skip
    page = render(result(evidence=seen, measured_again_s=7.07e-3), EVALUATED, BLOCKS)
    for text in ("71 of 80", "±0.4%", "unknown", "+1.0%", "1 of 1", "2026-01-01 to 2026-01-02", "A CPU"):
        assert text in page, text


def test_blocks_add_up_with_what_belongs_to_none():
    page = render(result(), EVALUATED, BLOCKS, rest=5e-4)
    assert "of no block" in page and "500 us" in page and "1.50 ms" in page


def test_points_can_be_reached_without_a_mouse():
    page = render(result(), EVALUATED, BLOCKS)
    assert page.count('tabindex="0"') >= 5 and "front: 7.00 ms, 90.00%: mbconv b" in page
