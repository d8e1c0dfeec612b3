import pytest

from nascli.errors import SpaceError, UnknownNameError
from nascli.spaces import operator, operator_family
from nascli.spaces.operators.basic import head
from nascli.spaces.operators.definition import add, concat, conv, shuffle, split
from nascli.spaces.operators.inverted_residual import mbconv


def test_mbconv_has_a_residual_only_where_shapes_agree():
    same = mbconv((16, 8, 8), 16)
    assert same.program.nodes[-1].primitive.kind == "add"
    assert mbconv((16, 8, 8), 24).program.nodes[-1].primitive.kind == "conv"
    assert mbconv((16, 8, 8), 16, stride=2).output == (16, 4, 4)


def test_an_expansion_of_one_has_no_first_convolution():
    kinds = [node.primitive.kind for node in mbconv((8, 4, 4), 12, expand=1).program.nodes]
    assert kinds == ["conv", "act", "conv"]


def test_the_same_call_is_the_same_operator():
    assert mbconv((8, 4, 4), 8, kernel=5) is mbconv((8, 4, 4), 8, kernel=5)
    assert mbconv((8, 4, 4), 8, kernel=5).short == "mbconv kernel=5 expand=6"


def test_errors_name_operator_arguments_and_rule():
    with pytest.raises(SpaceError, match=r"operator mbconv\(.*expand=0.*on 8x4x4: expand must be at least 1"):
        mbconv((8, 4, 4), 8, expand=0)
    with pytest.raises(SpaceError, match=r"operator mbconv: .*unexpected keyword.*it takes out"):
        mbconv((8, 4, 4), 8, kernle=3)
    with pytest.raises(SpaceError, match="features must be 0 or more"):
        head((8, 4, 4), 10, features=-1)


def test_unknown_operators_are_told_what_exists():
    with pytest.raises(UnknownNameError, match="Did you mean mbconv"):
        operator_family("mbcov")
    assert operator_family("mbconv") is mbconv


def test_a_users_operator_needs_a_function_and_nothing_else():
    @operator
    def two_halves(x, *, kernel=3):
        """Convolve one half and shuffle."""
        left, right = split(x, [x.channels // 2, x.channels - x.channels // 2])
        return shuffle(concat(left, conv(right, right.channels, kernel, act="relu")), 2)

    made = two_halves((8, 6, 6), kernel=5)
    assert made.output == (8, 6, 6)
    assert operator_family("two_halves") is two_halves


def test_split_sizes_must_add_up():
    @operator
    def bad_split(x):
        """Wrong on purpose."""
        return add(*split(x, [3, 3]))

    with pytest.raises(SpaceError, match=r"split sizes must add up to the channels, got \[3, 3\] for 8"):
        bad_split((8, 2, 2))
