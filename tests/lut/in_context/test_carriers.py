import pytest

from nascli.errors import MissingMeasurementsError
from nascli.lut import LatencyTable, Setup, program_key
from nascli.lut.in_context.carriers import (
    carry,
    in_context,
    is_auxiliary,
    reference,
    require_context,
    subjects_in_context,
)
from nascli.lut.statistics import Measurement
from nascli.spaces import make_space
from nascli.spaces.blocks import Placement
from nascli.spaces.operators.basic import head, identity
from nascli.spaces.operators.inverted_residual import mbconv

SETUP = Setup("d", "r", "1", "fp32", 1, 1)
OP = mbconv((8, 6, 6), 12, stride=2)


def table_of(**seconds):
    """A table of models by what they are: the truth is chosen, the figure must come out of it."""
    piece = carry(OP)
    programs = {"whole": piece.operator, "before": reference(OP.input), "after": reference(OP.output)}
    figures = {
        program_key(programs[name].program): Measurement(value, value - 0.1, value + 0.1, 6)
        for name, value in seconds.items()
    }
    return LatencyTable(SETUP, figures, {})


def test_a_carrier_is_the_operator_between_pointwise_convolutions():
    piece = carry(OP)
    assert piece.operator.program.input == OP.input and piece.operator.program.output_shape == OP.output
    assert len(piece.operator.program.nodes) == len(OP.program.nodes) + 2
    assert [p.input for p in piece.references] == [OP.input, OP.output]
    assert is_auxiliary(piece.operator.label) and is_auxiliary(reference(OP.input).label)
    assert not is_auxiliary(OP.label)


def test_entry_exit_and_neighbours_cancel():
    # Entering costs 3 before and 5 after, leaving likewise; a pointwise convolution 2 and 7; the operator 11.
    entry, leave, before, after, own = 3.0, 5.0, 2.0, 7.0, 11.0
    whole = entry + before + own + after + leave
    table = table_of(whole=whole, before=entry + 2 * before + entry, after=leave + 2 * after + leave)
    figure = in_context(table, OP)
    assert figure.seconds == pytest.approx(own) and figure.kind == "in context"
    assert figure.high - figure.seconds == pytest.approx((0.01 + 0.0025 + 0.0025) ** 0.5)


def test_over_a_network_entry_and_exit_count_once(rng):
    space = make_space("proxyless-mini")
    network = space.network(space.sample(1, rng)[0])
    # A device on which every model costs 1 to start, and each node 0.1.
    figures = {
        program_key(o.program): Measurement(1 + 0.1 * len(o.program.nodes), 0, 9, 6)
        for o in subjects_in_context(network.placements)
    }
    total = sum(
        e.seconds for e in require_context(LatencyTable(SETUP, figures, {}), network.placements, "cmd")
    )
    assert total == pytest.approx(1 + 0.1 * len(network.program.nodes))


def test_what_is_missing_is_none_or_an_error():
    assert in_context(table_of(whole=1.0, before=1.0), OP) is None
    assert in_context(table_of(), identity((8, 4, 4))).kind == "empty"
    with pytest.raises(MissingMeasurementsError, match="1 of 1 operators"):
        require_context(table_of(whole=1.0), [Placement(OP, first=False, last=False)], "cmd")


def test_the_ends_of_a_network_have_one_neighbour():
    tail = head((8, 4, 4), 10)
    assert len(carry(tail, last=True).references) == 1
    assert len(carry(OP, first=True).references) == 1
