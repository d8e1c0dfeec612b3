import pytest

from nascli.costmodel import counted
from nascli.errors import SpaceError, UnknownNameError
from nascli.pipeline.inspect.listing import describe_device, describe_space, list_devices, list_spaces
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.devices.device import this_cpu
from nascli.spaces import load_space, space_names

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
MULTI = "nse-19-mini:resolution=8,width=0.25,branches=2"
STAGED = "nss-expanded-mini:resolution=8,widths=16,depths=4"


def test_this_machine_s_cpu_comes_first_and_each_device_once():
    rows = list_devices()
    assert rows[0].key == "cpu" and rows[0].here and this_cpu().key in rows[0].title
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys)) and set(data_sheets()) <= set(keys)
    assert rows[0].to_json() == {"key": "cpu", "title": rows[0].title, "here": True}


def test_a_device_with_a_data_sheet_need_not_be_here():
    facts = describe_device("titanxp")
    sheet = data_sheets()["titanxp"]
    assert (facts.key, facts.title) == (sheet.key, sheet.title)
    assert facts.facts["bandwidth"] == sheet.bandwidth and facts.facts["peak"] == dict(sheet.peak)
    assert facts.to_json()["key"] == "titanxp" and "key" not in facts.facts


def test_this_machine_s_cpu_tells_what_was_read_from_it():
    assert describe_device("cpu").facts == dict(this_cpu().facts)


def test_an_unknown_device_is_told():
    with pytest.raises(UnknownNameError, match="toaster"):
        describe_device("toaster")


def test_every_space_has_a_line_about_it():
    rows = list_spaces()
    assert [row.name for row in rows] == list(space_names())
    assert all(row.about and "\n" not in row.about for row in rows)


def test_a_space_is_described_by_its_blocks_and_the_ranges_of_its_counts():
    described, space = describe_space(TINY), load_space(TINY)
    assert (described.spec, described.size, described.layers) == (space.spec, space.size, len(space.layers))
    assert described.distinct_operators == len(space.operators()) and not described.multi_branch
    macs = counted(space, "macs")
    assert described.macs == (macs.minimum, macs.maximum)
    assert [block.name for block in described.blocks] == [block.name for block in space.blocks]
    several = [block for block in described.blocks if len(block.candidates) > 1]
    assert [block.candidates for block in several] == [
        tuple(candidate.short for candidate in layer.candidates) for layer in space.layers
    ]


def test_a_multi_branch_layer_says_how_many_operators_it_holds():
    described = describe_space(MULTI)
    assert described.multi_branch
    assert any("up to 2 of" in block.candidates[0] for block in described.blocks)


def test_a_space_of_stages_has_no_operators_to_count():
    described = describe_space(STAGED)
    assert described.distinct_operators is None and "distinct_operators" not in described.to_json()
    assert described.layers == len(described.blocks) and described.macs[0] < described.macs[1]
    assert described.blocks[0].candidates == ("depth 1..4, width 1..16 of basic_block",)


def test_a_size_is_a_text_in_json_whatever_readers_hold_exactly():
    described = describe_space("nse-27-mini")
    assert described.size > 2**53 and described.to_json()["size"] == str(described.size)


def test_unknown_spaces_and_values_outside_their_rules_are_told():
    with pytest.raises(UnknownNameError, match="magic"):
        describe_space("magic")
    with pytest.raises(SpaceError):
        describe_space("proxyless-mini:resolution=0")
