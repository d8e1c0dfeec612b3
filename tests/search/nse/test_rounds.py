import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.costmodel import counted
from nascli.search.nse.rounds import (
    EvaluatedPoint,
    Round,
    RoundTraining,
    aggregate,
    front_of,
    narrow_choices,
    restricted_cost,
    simplify,
    widen_choices,
)
from nascli.spaces import load_space

SPACE = load_space("nse-19-mini:width=0.5")
COST = counted(SPACE, "macs")


def test_simplification_by_hand():
    """Layer 0 is normal and may lose all; layer 1 is a reduction and keeps its best; a locked one stays."""
    normal = next(layer for layer in SPACE.layers if layer.join == "normal")
    reduction = next(layer for layer in SPACE.layers if layer.join == "reduction")
    layers = [normal, reduction, normal]
    thetas = [[-2.5, -2.1, 0.0], [-4.0, -2.2, -3.0], [-5.0, -5.0, -1.9]]
    alive = [[True] * 3, [True] * 3, [True, True, False]]
    locked = [[False] * 3, [False] * 3, [True, False, False]]
    assert simplify(layers, thetas, alive, locked, -2.0) == [
        [False, False, True],
        [False, True, False],
        [True, False, False],
    ]


def test_the_front_by_hand_and_a_tie_goes_to_the_new_one():
    points = [
        EvaluatedPoint((1,), 10.0, 0.5),
        EvaluatedPoint((2,), 12.0, 0.5),
        EvaluatedPoint((3,), 12.0, 0.6, rehearsed=True),
        EvaluatedPoint((4,), 12.0, 0.6),
        EvaluatedPoint((5,), 15.0, 0.55),
    ]
    assert [p.architecture for p in front_of(points)] == [(1,), (4,)]


def test_aggregation_is_the_union_by_hand():
    points = [EvaluatedPoint((0b101, 0b1), 1.0, 0.1), EvaluatedPoint((0b100, 0b110), 2.0, 0.2)]
    assert aggregate(points, 2) == ((0, 2), (0, 1, 2))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_restriction_keeps_costs_and_widening_undoes_narrowing(seed):
    rng = np.random.default_rng(seed)
    kept = [sorted(rng.choice(len(layer.candidates), 5, replace=False).tolist()) for layer in SPACE.layers]
    space = SPACE.restricted("part", kept)
    codes = space.sample(10, rng)
    wide = widen_choices(codes, kept)
    assert np.array_equal(narrow_choices(wide, kept), codes)
    assert np.allclose(restricted_cost(COST, kept)(codes), COST(SPACE.check(wide)))


def test_a_round_is_read_as_it_was_written():
    point = EvaluatedPoint((3, 1), 10.0, 0.5, True)
    training = RoundTraining(((0.5, -3.0),), ((True, False),), (((0.1, -1.0),),))
    one = Round(((0, 5),), ((5,),), training, (point,), (point,), ((0,),))
    document = json.loads(json.dumps(one.to_json()))
    assert Round.from_json(document) == one
    assert document["front"] == [{"codes": [3, 1], "cost": 10.0, "accuracy": 0.5, "rehearsed": True}]
    # The first runs recorded no trajectory.
    del document["trained"]["trajectory"]
    assert Round.from_json(document).trained == RoundTraining(training.thetas, training.alive)
