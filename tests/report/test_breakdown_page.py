import html
import re

import pytest
from breakdown_cases import network, piece, repeating

from nascli.report.breakdown_page import render_breakdown, render_comparison_of_two

HOSTILE = "<script>alert('1')</script>\"'&"


def test_the_strip_has_every_piece_as_wide_as_it_is_long():
    page = render_breakdown(repeating())
    strip = page[page.index('class="strip"') : page.index('class="axis"')]
    segments = re.findall(r'class="(\w+)" style="flex:0 0 ([\d.]+)%;--f:([\d.]+)%"', strip)
    assert [(style, float(width), float(filled)) for style, width, filled in segments] == [
        ("compute", 10, 50),
        ("compute", 20, 50),
        ("memory", 5, 10),
        ("compute", 20, 50),
        ("compute", 20, 50),
        ("compute", 15, 50),
        ("outside", 10, 0),
    ]
    assert strip.count('tabindex="0"') == 7
    assert "2.00 ms ±200 us, 20.0%" in strip and "50% of the roofline, compute-bound" in strip


def test_tables_show_equal_pieces_once_and_each_piece_in_order():
    page = render_breakdown(repeating())
    by_time = page[page.index("what takes most of the time") : page.index("roofline</h2>")]
    names = re.findall(r"<b>(.*?)</b>", by_time)
    assert names == ["attention ×3", "attention", "conv 3x3", "pool"]
    assert "2 nodes in ort-cpu" in by_time and "outside of pieces" in by_time and "10.0 ms" in by_time
    in_order = page[page.index("in the order of the network") :]
    assert re.findall(r"<b>(.*?)</b>", in_order) == [
        "conv 3x3", "attention", "pool", "attention", "attention", "attention",
    ]  # fmt: skip
    assert "Not drawn: 1 with fewer than 0.02 MACs per byte" in page


def test_names_from_outside_are_escaped():
    one = network(
        [piece(0, HOSTILE, 1e-3, own=1e-3), piece(1, HOSTILE, 2e-3, own=1e-3)], name=HOSTILE, note=HOSTILE
    )
    other = network([piece(0, HOSTILE, 4e-3, key="x")], name=HOSTILE)
    for page in (render_breakdown(one), render_comparison_of_two(one, other)):
        assert "<script>alert" not in page
        assert html.escape("<script>alert") in page
        # The page's own script is the only one.
        assert page.count("<script>") == 1
        assert "http://" not in page and "https://" not in page and "src=" not in page


def test_a_page_needs_no_script_and_no_roofline_without_macs():
    page = render_breakdown(network([piece(0, "pool", 1e-3, macs=0.0, moved=10.0)]))
    assert "<svg" not in page and "net takes 1.00 ms, in one piece" in page
    # The script only sorts; rows and details are there without it.
    assert "<table" in page[: page.index("<script>")]


def test_two_networks_share_one_scale():
    first, second = repeating("first"), network([piece(0, "attention", 5e-3, key="a")], name="second")
    page = render_comparison_of_two(first, second)
    assert "second takes 5.00 ms (50%) less than first" in page
    assert "3 of 6 pieces of first (60% of its time) and 1 of 1 pieces of second (100% of its time)" in page
    assert "The greatest differences: attention -2.50 ms, conv 3x3 -1.00 ms, pool -500 us." in page
    strips = page.split('class="strip"')[1:]
    widths = [sum(map(float, re.findall(r"flex:0 0 ([\d.]+)%;--f", strip))) for strip in strips]
    assert widths == pytest.approx([100, 50])
    kinds = page[page.index("By kind") : page.index("Equal pieces")]
    assert "-2.50 ms" in kinds and "-1.00 ms" in kinds
    alone = render_comparison_of_two(first, network([piece(0, "MLP", 5e-3)], name="other"))
    assert "share no operator" in alone
