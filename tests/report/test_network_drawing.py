import xml.etree.ElementTree as ET
from dataclasses import replace

from report_cases import BLOCKS, EVALUATED, summary

from nascli.report.network_drawing import block_rows, network_drawing
from nascli.report.run_page import render_run


def test_blocks_add_up_with_what_belongs_to_none():
    page = render_run(summary(), EVALUATED, BLOCKS, rest=5e-4)
    assert "of no block" in page and "500 us" in page and "1.50 ms" in page


def test_boxes_are_as_wide_as_their_share_of_the_time():
    slow = replace(BLOCKS[0], name="slow", seconds=3e-3, operator="a + b")
    root = ET.fromstring(network_drawing([*BLOCKS, slow]))
    stem, *branches = (box for box in root.iter("rect") if box.get("class").startswith("box"))
    assert len(branches) == 2 and len({box.get("width") for box in branches}) == 1
    room = 1100 - 2 * 8 - 1.5 * 3 - 3 * 6
    assert float(stem.get("width")) - 6 == round(room / 4, 1)
    assert float(branches[0].get("width")) - 6 == round(3 * room / 4, 1)
    assert len([line for line in root.iter("line") if line.get("class") == "guide"]) == 1


def test_many_operators_share_the_colours_of_their_families():
    blocks = [replace(BLOCKS[0], operator=f"conv k={number}") for number in range(9)]
    root = ET.fromstring(network_drawing([*blocks, replace(BLOCKS[0], operator="pool")]))
    assert {box.get("class") for box in root.iter("rect")} >= {"box kind0", "box kind1"}
    assert len([swatch for swatch in root.iter("rect") if swatch.get("class") in ("kind0", "kind1")]) == 2


def test_networks_without_times_are_drawn_by_their_macs():
    blocks = [replace(block, seconds=0.0) for block in BLOCKS]
    assert "share of the MACs" in network_drawing(
        blocks
    ) and "stem: conv, to 1x1x1, 5 MACs" in network_drawing(blocks)
    assert [row["latency"] for row in block_rows(blocks, 0.0)] == ["-", "-", "-"]
