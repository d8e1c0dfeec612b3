import xml.etree.ElementTree as ET

import pytest

from nascli.report.page import Block, Evaluated, render
from nascli.report.svg import Axis, Series, chart, nice_ticks, pareto_front


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
        Axis("<b>", str),
        Axis("&", str),
        [Series([(1.0, 2.0, "<img>")], "dot"), Series([(1.0, 2.0, ""), (2.0, 3.0, "")], "line", line=True)],
        [(1.5, "<x>")],
    )
    root = ET.fromstring(text)
    assert "<script>" not in text and "<img>" not in text
    (circle,) = root.iter("circle")
    assert 0 < float(circle.get("cx")) < 560 and 0 < float(circle.get("cy")) < 340


def result(**changes):
    contender = {
        "top1": 0.9,
        "top1_interval": [0.8, 0.95],
        "measured_latency_s": 5e-3,
        "measured_interval_s": [4.9e-3, 5.1e-3],
        "predicted_latency_s": 5e-3,
        "macs": 10,
        "params": 10,
    }
    document = {
        "space": "s", "space_size": "12", "data": "digits", "algorithm": "spos", "constraints": ["latency=8ms"],
        "budget": [{"cost": "latency", "low": None, "high": 8e-3}], "measured_latency_s": 7e-3,
        "measured_interval_s": [6.9e-3, 7.1e-3], "retrained_top1": 0.93, "retrained_top1_interval": [0.9, 0.95],
        "macs": 1_000_000, "params": 1000, "evaluations": 2, "supernet_top1": 0.9, "supernet": "abc",
        "predicted_latency_s": {"value": 7.2e-3, "kind": "measured", "model": "sum",
                                "setup": {"device": "cpu-x", "runtime": "ort-cpu", "runtime_version": "1", "batch": 16}},
        "finalists": [contender], "baselines": {"random": contender, "largest": contender}, "codes": [0],
        "table_digest": "d", "seed": 0, "versions": {"nascli": "0"}, "export_max_difference": 1e-6,
    }  # fmt: skip
    return {**document, **changes}


EVALUATED = [Evaluated(6e-3, 0.8, (0,)), Evaluated(7e-3, 0.9, (1,))]
BLOCKS = [Block("stem", "conv", "1x1x1", 1e-3, 5, False), Block("l", "skipped", "1x1x1", 0.0, 0, True)]


def test_the_page_says_the_answer_first_and_loads_nothing():
    page = render(result(), EVALUATED, BLOCKS)
    assert page.index("7.00 ms measured for latency=8ms: 93.00% top-1") < page.index("Convergence")
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert page.count("<svg") == 3 and "prefers-color-scheme: dark" in page


def test_hostile_names_are_shown_harmless():
    evil = "<script>alert(1)</script>"
    page = render(
        result(space=evil, data=evil, constraints=[evil], algorithm=evil, versions={evil: evil}),
        EVALUATED,
        [Block(evil, evil, evil, 1.0, 1, False)],
    )
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_search_without_a_latency_bound_has_a_report_too():
    page = render(result(budget=[{"cost": "macs", "low": None, "high": 5}]), EVALUATED, BLOCKS)
    assert "budget" not in page
