import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nascli.costmodel import ChainCost, Constraint, parse_constraint, parse_constraints
from nascli.errors import NascliError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latency=8ms", Constraint("latency", -math.inf, 0.008)),
        ("latency <= 8 ms", Constraint("latency", -math.inf, 0.008)),
        ("macs<=330M", Constraint("macs", -math.inf, 330e6)),
        ("flops<=330M", Constraint("macs", -math.inf, 330e6)),
        ("params>=1M", Constraint("params", 1e6, math.inf)),
        ("300M<=macs<=350M", Constraint("macs", 300e6, 350e6)),
        ("latency@titanxp<=8ms", Constraint("latency", -math.inf, 0.008, "titanxp")),
        ("memory<=64MB", Constraint("weight_bytes", -math.inf, 64e6)),
    ],
)
def test_reads(text, expected):
    assert parse_constraint(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latency=8", "'8' has no unit"),
        ("latency", "is not a constraint"),
        ("latency<8ms", "is not a constraint"),
        ("latency=8MB", "not a unit of time"),
        ("speed=8ms", "unknown cost 'speed'"),
        ("350M<=macs<=300M", "empty"),
        ("latency=0ms", "above 0"),
        ("x" * 300, "at most 200"),
    ],
)
def test_refuses(text, message):
    with pytest.raises(NascliError, match=message):
        parse_constraint(text)


def test_several_on_one_cost_are_intersected():
    assert parse_constraints(["macs<=330M", "macs<=300M", "macs>=1M"]) == (Constraint("macs", 1e6, 300e6),)
    with pytest.raises(NascliError, match="contradictory"):
        parse_constraints(["macs<=3M", "macs>=4M"])


@given(st.text(max_size=80) | st.from_regex(r"[a-z@0-9. <>=]{1,40}", fullmatch=True))
def test_any_text_is_a_constraint_or_an_error(text):
    try:
        assert str(parse_constraint(text))
    except NascliError:
        pass


@given(st.floats(1e-6, 1e12), st.sampled_from(["time", "count", "bytes"]))
def test_a_printed_bound_may_be_typed_in_again(value, dimension):
    """Rounded up it still allows what it was printed for, rounded down it still asks for no more."""
    cost = ChainCost({"time": "latency", "count": "macs", "bytes": "memory"}[dimension], dimension, 0.0, ())
    if dimension == "time" and value >= 59:
        return
    if dimension != "time":
        value = max(1.0, float(round(value)))
    up, down = (cost.format_bound(value, direction).replace(" ", "") for direction in (1, -1))
    assert parse_constraint(f"{cost.name}<={up}").high >= value * (1 - 1e-12)
    assert parse_constraint(f"{cost.name}>={down}").low <= value * (1 + 1e-12)
