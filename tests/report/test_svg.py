import xml.etree.ElementTree as ET

import pytest

from nascli.report.svg import ChartAxis, Series, chart, nice_ticks, pareto_front, standalone


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


def test_a_chart_alone_brings_its_colours():
    drawing = chart("c", ChartAxis("x", str), ChartAxis("y", str), [Series([(1.0, 2.0, "")], "dot")])
    text = standalone(drawing, "<title>")
    root = ET.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and "&lt;title&gt;" in text and ".dot{" in text
