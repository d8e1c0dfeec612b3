import pytest
from hypothesis import given
from hypothesis import strategies as st

from nascli.errors import SpaceError
from nascli.spaces.primitives import (
    Act,
    Add,
    Attention,
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    GroupNorm,
    LayerNorm,
    Linear,
    Pad,
    PixelShuffle,
    PixelUnshuffle,
    Pool,
    Resize,
    Scale,
    Shape,
    Shift,
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
        (Conv(8, (2, 2), padding=(0, 0, 1)), [X], "padding is four integers"),
        (Conv(8, (2, 2), padding=(0, 0, -1, 0)), [X], "padding is four integers"),
        (Conv(8, (9, 2), padding=(0, 0, 0, 0)), [X], "must fit into the padded input"),
        (ConvTranspose(8, (1, 1), padding=(4, 0, 4, 0)), [X], "must leave an output"),
        (ConvTranspose(8, (2, 2), output_padding=(1, 0)), [X], "less than the stride, got 1 and 1"),
        (ConvTranspose(9, (2, 2), groups=8), [X], "groups must divide"),
        (Act("elu", (1.0, 2.0)), [X], "elu takes finite values for alpha"),
        (Act("elu", (float("inf"),)), [X], "takes finite values"),
        (Act("relu", (1.0,)), [X], "no parameters"),
        (Act("clip", ()), [X], "for low, high"),
        (Act("clip", (1.0, 0.0)), [X], "lower bound below the upper one"),
        (Pool("max", 2, 1, padding=(0, 0, 2, 0)), [X], "smaller than the window"),
        (Pool("max", (9, 1), 1, padding=(0, 0, 0, 0)), [X], "must fit into the padded input"),
        (Pool("max", 3, 1, count_padding=True), [X], "only averages count"),
        (Pool("max", (1.5, 2), 1, padding=(0, 0, 0, 0)), [X], "one integer or a pair"),
        (Dense(0), [X], "at least one output"),
        (Attention(3), [X, X, X], "heads must divide"),
        (Attention(2), [X, Shape(8, 2, 2), X], "same height and width"),
        (LayerNorm(-1.0), [X], "epsilon must be at least 0"),
        (GroupNorm(3), [X], "groups that divide"),
        (Shift(float("nan")), [X], "must be finite"),
        (Binary("max"), [X, X], "known are add, sub, mul, div"),
        (Binary("mul"), [X, Shape(8, 7, 4)], "equal or 1"),
        (Pad((1, 2, 3)), [X], "padding is four integers"),
        (PixelShuffle(3), [X], "divisible by the factor squared"),
        (PixelUnshuffle(2), [X], "divisible by the factor"),
        (Resize(0, 3), [X], "at least 1, got 0 and 3"),
        (Resize(3, 3, "cubic"), [X], "'nearest' or 'bilinear'"),
        (Resize(3, 3, align_corners=True), [X], "bilinear mode only"),
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


def test_what_equals_a_default_has_the_key_of_the_default():
    assert Conv(4, (3, 5), dilation=(2, 1), padding=(2, 2, 2, 2)) == Conv(4, (3, 5), dilation=(2, 1))
    assert Conv(4, (3, 3), padding=(0, 0, 0, 0)) != Conv(4, (3, 3))
    assert Pool("avg", (3, 3), (2, 2), (1, 1, 1, 1)) == Pool("avg", 3, 2)
    assert Pool("avg", 2, 2, (0, 0, 0, 0), count_padding=True) == Pool("avg", 2, 2, (0, 0, 0, 0))
    assert Act("leaky_relu", (0.01,)) == Act("leaky_relu")
    # Attributes that came later are left out where they have their default, so that keys of tables stay valid.
    builder = Builder(X)
    builder.append(Pool("max", 3, 2), (builder.append(Conv(4), (0,)),))
    assert builder.build(2).canonical == (
        '{"input":[8,7,5],"nodes":[["conv",[0],{"out":4}],["pool",[1],{"kernel":3,"mode":"max","stride":2}]],"output":2}'
    )


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
