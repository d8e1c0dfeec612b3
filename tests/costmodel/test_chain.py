import numpy as np
import pytest

from nascli.costmodel import ChainCost, counted, table_latency
from nascli.errors import ConstraintError, MissingMeasurementsError
from nascli.lut import LatencyTable, Setup
from nascli.lut.in_context.carriers import carry, in_context, subjects_in_context
from nascli.lut.keys import program_key
from nascli.lut.statistics import Measurement
from nascli.spaces import Layer, Space, make_space
from nascli.spaces.operators.basic import conv_block
from nascli.spaces.operators.inverted_residual import mbconv

SETUP = Setup("d", "r", "1", "fp32", 16, 1)


def test_counts_of_populations_equal_counts_of_networks(rng):
    space = make_space("proxyless-mini")
    codes = space.sample(20, rng)
    for name in ("macs", "params", "weight_bytes"):
        cost = counted(space, name)
        expected = [getattr(space.network(row).counts, name) for row in codes]
        assert cost(codes).tolist() == expected
        assert cost.minimum <= min(expected) and cost.maximum >= max(expected)
    with pytest.raises(ConstraintError, match="'beauty' is not counted"):
        counted(space, "beauty")


def test_counts_of_multi_branch_populations(rng):
    ops = tuple(mbconv((8, 4, 4), 8, kernel=k) for k in (3, 5, 7))
    space = Space("b", (), (("stem", conv_block((1, 4, 4), 8)), Layer("n", ops, "normal", 3)))
    codes = space.sample(30, rng)
    expected = [space.network(row).counts.macs for row in codes]
    assert counted(space, "macs")(codes).tolist() == expected


def test_latency_is_the_sum_over_the_table_in_context(rng):
    space = make_space("proxyless-mini")
    parts = subjects_in_context(space.distinct_placements())
    figures = {
        program_key(o.program): Measurement(
            1e-2 + i * 1e-4 if o.family.startswith("carrier") else 1e-3, 0, 1, 6
        )
        for i, o in enumerate(parts)
    }
    table = LatencyTable(SETUP, figures, {})
    cost = table_latency(space, table, "cmd")
    for row in space.sample(10, rng):
        placements = space.network(row).placements
        by_hand = sum(in_context(table, p.operator, first=p.first, last=p.last).seconds for p in placements)
        assert cost(row[None])[0] == pytest.approx(by_hand)
    lost = carry(space.layers[2].candidates[3])
    figures.pop(program_key(lost.operator.program))
    with pytest.raises(MissingMeasurementsError, match="1 of 41 operators"):
        table_latency(space, table, "cmd")


def test_costs_survive_json_to_the_last_bit():
    cost = ChainCost("latency", "time", 0.1, (np.array([1 / 3, 2e-7]), np.array([np.pi])), kind="measured")
    again = ChainCost.from_json(cost.to_json())
    assert again.offset == cost.offset
    assert all(np.array_equal(a, b) for a, b in zip(again.unary, cost.unary, strict=True))


def test_costs_must_be_finite():
    with pytest.raises(ConstraintError, match="latency of layer 0 is not finite"):
        ChainCost("latency", "time", 0.0, (np.array([np.nan]),))
