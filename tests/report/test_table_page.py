import math

from nascli.report.table_page import OperatorPoint, find_cliffs, render_table, roofline_chart


def point(operator, channels, rate, intensity=10.0, seconds=1e-3):
    """An operator that does `rate` MACs a second."""
    return OperatorPoint(operator, seconds, 0.01, rate * seconds, rate * seconds / intensity, channels)


def test_cliffs_by_hand():
    full, ragged = point("conv 16", 16, 10e9), point("conv 12", 12, 5e9)
    near, other_family = point("conv 20", 20, 8e9), point("mbconv 12", 12, 1e9)
    other_intensity = point("conv 4", 4, 1e9, intensity=100.0)
    (cliff,) = find_cliffs([full, ragged, near, other_family, other_intensity])
    assert cliff.slow is ragged and cliff.fast is full
    steeper = point("conv 6", 6, 1e9)
    assert [cliff.slow for cliff in find_cliffs([full, ragged, steeper])] == [steeper, ragged]


def test_the_page_shows_the_slowest_first():
    points = [
        OperatorPoint("pool", 3e-3, math.inf, 0.0, 5.0, 0),
        point("conv <16>", 16, 10e9),
        point("conv 12", 12, 5e9, seconds=2e-3),
    ]
    page = render_table("cpu-x, fp32", "d" * 8, points)
    assert "3 operators, 1.00 ms to 3.00 ms" in page and "conv &lt;16&gt;" in page and "conv <16>" not in page
    body = page[page.index("Slowest first") :]
    assert body.index("pool") < body.index("conv 12") < body.index("conv &lt;16&gt;")
    assert "unknown" in body and "±1.0%" in body
    assert "10.0G" in page and "d" * 8 in page and "and 0 faster" not in page


def test_the_roof_is_the_best_of_both():
    svg = roofline_chart([point("a", 16, 1e9, intensity=1.0), point("b", 16, 10e9, intensity=100.0)])
    assert "a: 1.00 ms, 1.00G MACs a second" in svg and svg.count("<polyline") == 1


def test_a_table_of_what_computes_nothing_has_a_page():
    page = render_table("cpu-x", "d", [OperatorPoint("pool", 3e-3, 0.1, 0.0, 5.0, 0)])
    assert "1 operators" in page and "MACs a second at best" not in page
