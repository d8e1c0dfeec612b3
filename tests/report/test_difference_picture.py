import xml.etree.ElementTree as ET

from nascli.report.difference_picture import RatioPoint, difference_picture


def test_operators_that_differ_are_marked():
    points = [RatioPoint("same", 1e-3, 1.0, False), RatioPoint("<other>", 2e-3, 1.5, True)]
    text = difference_picture(points, "old", "new")
    root = ET.fromstring(text)
    styles = [circle.get("class") for circle in root.iter("{http://www.w3.org/2000/svg}circle")]
    assert styles == ["dot", "apart"] and "&lt;other&gt;: 1.500" in text and "new / old" in text
