import pytest
from fakes import DEVICE, SimulatedMachine, SimulatedRuntime

from nascli.pipeline.measure.runtime_opinion import ask_runtime, attribute, least
from nascli.profiles.runtimes.base import NodeTime, RuntimeOptions
from nascli.profiles.target import Target
from nascli.spaces.operators.basic import conv_block


def node(name, seconds, kind="Conv"):
    return NodeTime(name, kind, seconds)


# Three pieces of two, one, and two nodes.
OWNERS = [0, 0, 1, 2, 2]


def test_nodes_belong_to_the_piece_that_their_name_tells_and_others_to_where_they_run():
    nodes = [
        node("ReorderInput", 1.0),
        node("n1_nchwc", 2.0),
        node("ReorderOutput", 4.0),
        node("n2.gate/QuickGeluFusion/", 8.0),
        node("ReorderOutput_token_3", 16.0),
        node("n3", 32.0),
        node("n4", 64.0),
        node("n5.flat", 128.0),
        node("ReorderOutput_token_4", 256.0),
    ]
    opinion = attribute(nodes, OWNERS)
    assert opinion.seconds == (1 + 2 + 4 + 8 + 8, 8 + 32, 64 + 128 + 256)
    assert [len(own) for own in opinion.nodes] == [4, 1, 3]
    assert (opinion.shared, opinion.unattributed) == (16.0, 0.0)


def test_what_has_no_place_is_told():
    # Numbers beyond the program and other names are nobody's; between the first and the last piece lies a whole one.
    nodes = [node("n1", 1.0), node("n9", 2.0), node("n12x", 4.0), node("nx", 8.0), node("n4", 16.0)]
    opinion = attribute(nodes, OWNERS)
    assert opinion.seconds == (1.0, 0.0, 16.0)
    assert opinion.unattributed == 14.0


def test_a_runtime_that_lists_nodes_in_another_order_is_not_misread():
    opinion = attribute([node("n5", 1.0), node("Reorder", 2.0), node("n1", 4.0)], OWNERS)
    assert opinion.seconds == (4.0, 0.0, 1.0) and opinion.unattributed == 2.0


def test_everything_belongs_to_a_single_piece():
    assert attribute([node("v5", 1.0), node("whatever", 2.0)], [0, 0]).seconds == (3.0,)


def test_the_least_of_several_profiles_counts_and_other_graphs_do_not():
    profiles = [[node("a", 3.0), node("b", 1.0)], [node("a", 2.0), node("b", 5.0)], [node("a", 0.1)]]
    assert least(profiles) == [node("a", 2.0), node("b", 1.0)]


def test_a_runtime_is_asked_for_the_chain_and_may_have_no_answer():
    pieces = [conv_block((3, 8, 8), 4).program, conv_block((4, 8, 8), 4).program]
    runtime = SimulatedRuntime(SimulatedMachine())
    target = Target(DEVICE, runtime, RuntimeOptions(), 2)
    assert ask_runtime(pieces, target) is None
    runtime.node_times = lambda model, options: [node("n1", 1e-6), node("n3", 2e-6), node("n4", 4e-6)]
    assert ask_runtime(pieces, target).seconds == pytest.approx((1e-6, 6e-6))
