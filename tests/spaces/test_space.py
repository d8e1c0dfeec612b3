import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.errors import ArchitectureError, NascliError, SpaceError, UnknownNameError
from nascli.spaces import Architecture, FixedBlock, Layer, Network, Space, load_space, make_space
from nascli.spaces.catalog import summary
from nascli.spaces.operators.basic import conv_block, identity
from nascli.spaces.operators.inverted_residual import mbconv


def test_size_is_exact():
    assert make_space("proxyless-mini").size == 7**7 * 6**3


def test_specs_round_trip():
    space = load_space("proxyless-mini:resolution=16, width=0.5")
    assert load_space(space.spec) == space
    assert dict(space.parameters) == {"resolution": 16, "width": 0.5}
    assert summary("proxyless-mini").startswith("Ten MBConv layers")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("proxyles-mini", "Did you mean proxyless-mini"),
        ("proxyless-mini:resolution=big", "resolution must be of type int, got 'big'"),
        ("proxyless-mini:size=3", "has no parameter 'size'; it takes resolution=28"),
        ("proxyless-mini:3", "written key=value"),
        ("proxyless-mini:resolution=4", "resolution must be at least 8, got 4"),
        ("proxyless-mini:width=0", "width must be in"),
        ("proxyless-mini:depth=0", "depth must be in"),
        ("proxyless-mini:classes=1", "classes must be at least 2"),
        ("proxyless-mini:channels=0", "channels must be at least 1"),
        ("nowhere.py:x", "does not exist"),
    ],
)
def test_wrong_specs_are_told_why(spec, text):
    with pytest.raises((SpaceError, UnknownNameError), match=text):
        load_space(spec)


@pytest.mark.parametrize(
    ("codes", "text"),
    [
        ([[0, 0]], "has 10 choices, got shape"),
        ([[0] * 9 + [7]], r"layer stage3.2 \(9\): a choice must be in 0..6, got 7"),
        ([[6] + [0] * 9], r"layer stage1.0 \(0\): a choice must be in 0..5, got 6"),
        ([[-1] + [0] * 9], "got -1"),
        ([[0.5] * 10], "choices are integers"),
    ],
)
def test_wrong_choices_are_told_why(codes, text):
    with pytest.raises(ArchitectureError, match=text):
        make_space("proxyless-mini").check(codes)


def test_samples_are_valid_and_cover_the_space(rng):
    space = make_space("proxyless-mini")
    codes = space.check(space.sample(2000, rng))
    for index, layer in enumerate(space.layers):
        assert len(np.unique(codes[:, index])) == len(layer.candidates)


def branch_space(most=2):
    ops = [mbconv((8, 4, 4), 8, kernel=k, expand=2) for k in (3, 5, 7)]
    down = [mbconv((8, 4, 4), 16, kernel=k, expand=2, stride=2) for k in (3, 5)]
    stem = conv_block((1, 4, 4), 8)
    layers = [Layer("n", tuple(ops), "normal", most), Layer("r", tuple(down), "reduction", most)]
    return Space("branches", (), (("stem", stem), *layers))


def test_multi_branch_sizes_rules_and_joins(rng):
    space = branch_space()
    assert space.size == (1 + 3 + 3) * (2 + 1)
    drawn = space.check(space.sample(3000, rng))
    assert {int(c) for c in drawn[:, 0]} == {0, 1, 2, 3, 4, 5, 6}
    assert {int(c) for c in drawn[:, 1]} == {1, 2, 3}
    with pytest.raises(ArchitectureError, match=r"1..2 branches are allowed, got 0"):
        space.check([[0, 0]])
    with pytest.raises(ArchitectureError, match=r"0..2 branches are allowed, got 3"):
        space.check([[7, 1]])
    with pytest.raises(ArchitectureError, match=r"a bit set must be in 0\.\.7"):
        space.check([[8, 1]])
    # Normal layers average their branches and the input; reductions only their branches (NSE, Eq. 1).
    normal, reduction = space.layers
    assert normal.operator(3).program.nodes[-1].primitive.factor == 1 / 3
    assert reduction.operator(3).program.nodes[-1].primitive.factor == 1 / 2
    assert normal.operator(0).program.output == 0


def test_multi_branch_samples_are_uniform(rng):
    drawn = branch_space().sample(21_000, rng)
    pairs, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(pairs) == 21
    assert abs(counts - 1000).max() < 150


def test_layers_and_spaces_refuse_what_does_not_fit():
    a, b = mbconv((8, 4, 4), 8), mbconv((8, 4, 4), 16)
    with pytest.raises(SpaceError, match="all candidates must map"):
        Layer("x", (a, b))
    with pytest.raises(SpaceError, match="at least one candidate"):
        Layer("x", ())
    with pytest.raises(SpaceError, match="a normal layer keeps its shape"):
        Layer("x", (b,), "normal", 2)
    with pytest.raises(SpaceError, match="gives 8x4x4, but l2 takes 4x4x4"):
        Space("s", (), (Layer("l1", (a,)), Layer("l2", (identity((4, 4, 4)),))))
    with pytest.raises(SpaceError, match="at least one layer"):
        Space("s", (), (("stem", a),))


def test_restricted_keeps_the_named_candidates():
    space = branch_space().restricted("smaller", [[0, 2], [1]])
    assert [len(layer.candidates) for layer in space.layers] == [2, 1]


def test_architectures_survive_their_file(tmp_path, rng):
    space = make_space("proxyless-mini", width=0.5)
    one = Architecture.of(space, space.sample(1, rng)[0], "mine")
    one.save(tmp_path / "a.json")
    assert Architecture.load(tmp_path / "a.json") == one
    assert one.network.output == (10, 1, 1)


def test_damaged_architecture_files_are_told_why(tmp_path, rng):
    space = make_space("proxyless-mini")
    good = Architecture.of(space, space.sample(1, rng)[0]).to_json()
    for change, text in [
        ({"format": "other"}, "not an architecture file"),
        ({"version": 2}, "version 2; this nascli reads version 1"),
        ({"codes": [0] * 9}, "has 10 choices"),
        ({"codes": None}, "damaged architecture file"),
        ({"codes": [10**30] * 10}, "64 bits"),
        ({"space": {"name": "none", "parameters": {}}}, "unknown space"),
        ({"space": {}}, "damaged architecture file"),
    ]:
        with pytest.raises(NascliError, match=text):
            Architecture.from_json({**good, **change})
    path = tmp_path / "bad.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ArchitectureError, match="not valid JSON"):
        Architecture.load(path)
    path.write_text(" " * (1 << 21))
    with pytest.raises(ArchitectureError, match="larger than"):
        Architecture.load(path)
    with pytest.raises(ArchitectureError, match="cannot read"):
        Architecture.load(tmp_path / "none.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["space", "codes", "name", "version"]), json_values)
def test_any_document_is_an_architecture_or_an_error(key, value):
    good = Architecture.of(make_space("proxyless-mini"), np.zeros(10, dtype=int)).to_json()
    document = json.loads(json.dumps({**good, key: value}))
    try:
        Architecture.from_json(document)
    except NascliError:
        pass


def test_a_pair_of_a_name_and_an_operator_is_a_fixed_block():
    stem, layer = conv_block((1, 4, 4), 8), Layer("l", (identity((8, 4, 4)),))
    space = Space("s", (), (("stem", stem), layer))
    assert space.blocks == (FixedBlock("stem", stem), layer)
    assert space == Space("s", (), (FixedBlock("stem", stem), layer))
    assert Network("n", (("stem", stem),)).blocks == (FixedBlock("stem", stem),)


@pytest.mark.parametrize("block", ["stem", ("stem",), ("stem", "conv"), (3, conv_block((1, 4, 4), 8)), None])
def test_what_is_no_block_is_refused(block):
    layer = Layer("l", (identity((8, 4, 4)),))
    with pytest.raises(
        SpaceError, match="space s: a block is a FixedBlock, a Layer, or a pair of a name and an"
    ):
        Space("s", (), (block, layer))


def test_a_network_has_no_layer():
    with pytest.raises(SpaceError, match="network n: layer l still has a choice"):
        Network("n", (Layer("l", (identity((8, 4, 4)),)),))


def test_placements_say_what_begins_and_ends_a_network():
    stem, keep = conv_block((8, 4, 4), 8), identity((8, 4, 4))
    space = Space("s", (), (FixedBlock("stem", stem), Layer("a", (stem, keep)), Layer("b", (stem, keep))))
    assert [[(p.first, p.last) for p in placements] for placements in space.placements] == [
        [(True, False)], [(False, False)] * 2, [(False, True)] * 2,
    ]  # fmt: skip
    assert [(p.operator, p.first, p.last) for p in space.network((0, 1)).placements] == [
        (stem, True, False), (stem, False, False), (keep, False, True),
    ]  # fmt: skip
    twice = Space("s", (), (FixedBlock("stem", stem), *(Layer(f"l{i}", (stem, keep)) for i in range(3))))
    # Two layers in the middle share their placements; the first and the last block have their own.
    assert len(twice.distinct_placements()) == 1 + 2 + 2
