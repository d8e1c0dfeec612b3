import xml.etree.ElementTree as ET

from nascli.report.story import GridCell, OperatorGrid, evaluated_story
from nascli.spaces import load_space

SPACE = load_space("pcnas-small-mini:resolution=8")
LAYERS = len(SPACE.layers)


def test_squares_lie_where_layer_and_operator_meet():
    grid = OperatorGrid(SPACE)
    grid.put(0, 0, GridCell(0.5, False, "<first>"))
    grid.put(2, 1, GridCell(0.0, True, "second"))
    assert grid.get(2, 1).won and grid.get(1, 0) is None
    first, second = ET.fromstring(grid.draw()).iter("rect")
    assert float(second.get("x")) - float(first.get("x")) == 2 * 22
    assert float(second.get("y")) - float(first.get("y")) == 22
    assert (first.get("class"), first.get("fill-opacity")) == ("cell", "0.49")
    assert (second.get("class"), second.get("fill-opacity")) == ("best", "1.00")
    assert "&lt;first&gt;" in grid.draw()


def test_what_good_architectures_have_in_common_by_hand():
    winner = [1] * LAYERS
    evaluated = [(winner, 0.9), ([0] * LAYERS, 0.1), ([0] * LAYERS, 0.2), ([1, *[0] * (LAYERS - 1)], 0.3)]
    svg = evaluated_story(SPACE, evaluated, winner).svg
    layer = SPACE.layers[0]
    assert f"{layer.name}, {layer.candidates[1].short}: in 100% of the best quarter, 50% of all" in svg
    assert f"{layer.name}, {layer.candidates[0].short}: in 0% of the best quarter, 50% of all" in svg
    assert svg.count('class="best"') == LAYERS


def test_multi_branch_architectures_count_for_each_of_their_operators():
    space = load_space("nse-27-mini:resolution=8")
    both = [0b11] * len(space.layers)
    svg = evaluated_story(space, [(both, 0.5)], both).svg
    assert svg.count("in 100% of the best quarter") == 2 * len(space.layers)
