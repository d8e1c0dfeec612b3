import pytest
from hypothesis import given
from hypothesis import strategies as st

from nascli.errors import SpaceError
from nascli.spaces.primitives import (
    Act,
    Add,
    Concat,
    Conv,
    Linear,
    Pool,
    Scale,
    Shape,
    Shuffle,
    Split,
)
from nascli.spaces.programs import Builder, Program, chain
from nascli.spaces.shape_rules import infer_shape

X = Shape(8, 7, 5)


@pytest.mark.parametrize(
    ("primitive", "inputs", "rule"),
    [
        (Conv(0), [X], "at least one output channel"),
        (Conv(8, (2, 2)), [X], "kernels are odd"),
        (Conv(8, groups=3), [X], "groups must divide the channels, got groups=3, in=8, out=8"),
        (Conv(8, stride=(0, 1)), [X], "stride must be at least 1"),
        (Conv(8, dilation=(0, 1)), [X], "dilation must be at least 1"),
        (Conv(8, bias=True), [X], "no bias of its own"),
        (Act("gelu9"), [X], "unknown activation 'gelu9'"),
        (Pool("median", 3, 1), [X], "'max' or 'avg'"),
        (Pool("max", 2, 1), [X], "kernels are odd"),
        (Pool("max", 3, 0), [X], "stride is at least 1"),
        (Add(), [X, Shape(9, 7, 5)], "add needs equal shapes, got 8x7x5 and 9x7x5"),
        (Add(), [], "at least one"),
        (Scale(), [X, X], "gate of 8 channels"),
        (Scale(), [X], "takes 2 input"),
        (Split(4, 9), [X], "0 <= start < stop <= channels"),
        (Concat(), [X, Shape(8, 6, 5)], "equal height and width"),
        (Shuffle(3), [X], "groups that divide"),
        (Linear(10), [X], "linear needs a vector"),
        (Linear(0), [Shape(8, 1, 1)], "at least one output"),
    ],
)
def test_rules_name_the_values(primitive, inputs, rule):
    with pytest.raises(SpaceError, match=rule):
        infer_shape(primitive, inputs)


@given(st.integers(1, 40), st.sampled_from([1, 3, 5, 7]), st.integers(1, 3), st.integers(1, 3))
def test_same_padding_gives_the_ceiling(size, kernel, stride, dilation):
    conv = Conv(4, (kernel, kernel), (stride, stride), (dilation, dilation))
    shape = infer_shape(conv, [Shape(4, size, size)])
    padded = size + 2 * (dilation * (kernel - 1) // 2)
    by_formula = (padded - dilation * (kernel - 1) - 1) // stride + 1
    assert shape.height == by_formula == -(-size // stride)


def test_nothing_but_activations_follow_a_linear_layer():
    builder = Builder(Shape(4, 1, 1))
    logits = builder.append(Linear(3), (0,))
    builder.append(Act("relu"), (logits,))
    with pytest.raises(SpaceError, match="cannot follow a linear layer"):
        builder.append(Conv(3), (logits,))


def test_equal_programs_have_equal_text_and_survive_it():
    def program(channels):
        builder = Builder(X)
        h = builder.append(Conv(channels, (3, 1), dilation=(2, 1)), (0,))
        return builder.build(builder.append(Act("relu"), (h,)))

    assert program(6).canonical == program(6).canonical != program(7).canonical
    assert Program.from_canonical(program(6).canonical) == program(6)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"input":[1,2],"nodes":[],"output":0}',
     '{"input":[1,1,1],"nodes":[["no",[0],{}]],"output":1}',
     '{"input":[1,1,1],"nodes":[["conv",[5],{"out":1}]],"output":1}', "[" * 100_000,
     '{"input":[1,1,1],"nodes":[["conv",[0],{"out":1,"evil":2}]],"output":1}'],
)  # fmt: skip
def test_damaged_text_is_a_space_error(text):
    with pytest.raises(SpaceError):
        Program.from_canonical(text)


def test_chain_joins_and_refuses_what_does_not_fit():
    builder = Builder(X)
    a = builder.build(builder.append(Conv(4), (0,)))
    assert chain([a]).output_shape == Shape(4, 7, 5)
    with pytest.raises(SpaceError, match="cannot follow"):
        chain([a, a])
    with pytest.raises(SpaceError, match="at least one"):
        chain([])


@pytest.mark.parametrize(
    "text",
    ['{"input":[1,2,3],"nodes":[["conv",[0],1e308]],"output":1}', '{"input":[1e400,1,1],"nodes":[],"output":0}',
     '{"input":[1,1,1],"nodes":[["conv",[0],{"out":1}]],"output":1e400}', "[" * 100000, "7", "null"],
)  # fmt: skip
def test_texts_that_are_no_programs(text):
    with pytest.raises(SpaceError):
        Program.from_canonical(text)
