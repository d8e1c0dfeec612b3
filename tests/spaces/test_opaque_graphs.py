import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nascli.errors import SpaceError
from nascli.spaces.counts import count
from nascli.spaces.opaque_counts import macs_of_node, opaque_counts
from nascli.spaces.opaque_graphs import Constant, OpaqueGraph, OpaqueNode, TensorType, sample_shape
from nascli.spaces.primitives import Act, Conv, Opaque, Shape
from nascli.spaces.programs import Builder, Program, chain

TOKENS = TensorType("float32", (2, 6, 8))


def product(kind=TOKENS, batch=2):
    """A matrix product over the last axis, and a constant that is added."""
    features = kind.dims[-1]
    half = Constant.of(TensorType("float32", ()), b"\0\0\0\x3f")
    return OpaqueGraph(
        batch=batch,
        opset=(("", 20),),
        inputs=(kind,),
        weights=(TensorType("float32", (features, features)),),
        constants=(half,),
        nodes=(OpaqueNode("MatMul", "", (0, 1), (kind,)), OpaqueNode("Add", "", (3, 2), (kind,))),
        outputs=(4,),
    )


def program_of(graph):
    builder = Builder(Shape(*sample_shape(graph.inputs[0], graph.batch)))
    return builder.build(builder.append(Opaque(graph.text), (0,)))


def test_a_piece_survives_its_text():
    graph = product()
    assert OpaqueGraph.parse(graph.text) == graph
    program = program_of(graph)
    assert Program.from_canonical(program.canonical) == program


def test_counts_worked_by_hand():
    counts = opaque_counts(product().text)
    # 2 samples x 6 tokens x 8 features, each a sum of 8 products.
    assert counts.macs == 2 * 6 * 8 * 8 and counts.params == counts.weights == 64
    assert counts.weight_bytes == 4 * (64 + 1)
    # The product reads and writes its tokens, and so does the sum.
    assert counts.moved_bytes == 4 * (64 + 4 * 2 * 6 * 8)
    assert counts.peak_bytes == 2 * 4 * 2 * 6 * 8 and counts.uncounted == ("Add",)
    per_sample = count(program_of(product()))
    assert per_sample.macs == 6 * 8 * 8 and per_sample.params == 64
    assert per_sample.peak_bytes == 2 * 4 * 6 * 8


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "outputs", "macs"),
    [
        ("Conv", {}, [(1, 4, 8, 8), (6, 2, 3, 3)], [(1, 6, 8, 8)], 6 * 64 * 2 * 9),
        ("ConvTranspose", {}, [(1, 4, 8, 8), (4, 3, 2, 2)], [(1, 3, 16, 16)], 4 * 64 * 3 * 4),
        ("Gemm", {"transA": 1}, [(5, 2), (5, 7)], [(2, 7)], 14 * 5),
        ("Gemm", {}, [(2, 5), (5, 7)], [(2, 7)], 14 * 5),
        ("MatMul", {}, [(3, 4, 5), (3, 5, 2)], [(3, 4, 2)], 24 * 5),
        ("Einsum", {"equation": "bik,bjk->bij"}, [(2, 3, 4), (2, 5, 4)], [(2, 3, 5)], 2 * 3 * 5 * 4),
        ("LSTM", {}, [(7, 2, 5), (1, 12, 5), (1, 12, 3)], [(7, 1, 2, 3)], 14 * (60 + 36)),
        ("Softmax", {}, [(2, 3)], [(2, 3)], None),
    ],
)
def test_macs_of_nodes_worked_by_hand(op, attributes, inputs, outputs, macs):
    kinds = [[TensorType("float32", dims) for dims in group] for group in (inputs, outputs)]
    assert macs_of_node(op, attributes, *kinds) == macs


def test_a_count_that_is_unknown_is_no_zero():
    with pytest.raises(SpaceError, match="cannot be inferred"):
        macs_of_node("Conv", {}, [None, None], [None])


def test_shapes_of_values():
    assert sample_shape(TensorType("float32", (2, 3, 5, 7)), 2) == (3, 5, 7)
    assert sample_shape(TOKENS, 2) == (8, 6, 1)
    assert sample_shape(TensorType("float32", (2, 9)), 2) == (9, 1, 1)
    # Windows are in the batch here, so nothing but the number of elements is known.
    assert sample_shape(TensorType("float32", (8, 6, 5)), 2) == (120, 1, 1)
    with pytest.raises(SpaceError, match="no elements"):
        sample_shape(TensorType("float32", (2, 0)), 2)


def test_who_may_read_what():
    tokens = program_of(product())
    assert chain([tokens, tokens]).batch == 2
    builder = Builder(tokens.input)
    value = builder.embed(tokens, 0)
    with pytest.raises(SpaceError, match="act cannot follow a value float32"):
        builder.append(Act("relu"), (value,))
    image = TensorType("float32", (2, 8, 6, 1))
    with pytest.raises(SpaceError, match="cannot follow float32"):
        builder.append(Opaque(product(image).text), (value,))
    with pytest.raises(SpaceError, match="which is 8x6x1"):
        Builder(Shape(8, 5, 1)).append(Opaque(product().text), (0,))
    # A piece that gives an image can be read by primitives.
    last_axis = program_of(product(TensorType("float32", (2, 4, 6, 8))))
    after = Builder(last_axis.input)
    assert after.append(Conv(3), (after.embed(last_axis, 0),)) == 2
    vectors = [program_of(product(TensorType("float32", (n, 8)), n)) for n in (1, 2)]
    with pytest.raises(SpaceError, match=r"at batches \[1, 2\]"):
        _ = chain(vectors).batch


def test_a_repeated_program_counts_all_copies():
    one = program_of(product())
    three = one.repeated(3)
    assert count(three).macs == 3 * count(one).macs and three.canonical != one.canonical
    assert Program.from_canonical(three.canonical) == three
    with pytest.raises(SpaceError, match="1 <= copies"):
        one.repeated(65)
    with pytest.raises(SpaceError, match="stands alone"):
        chain([three, one])


TEXT = product().text


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_text_is_an_error_and_no_crash(data):
    text = list(TEXT)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(text) - 1))
        text[position] = data.draw(st.sampled_from('0123456789-[]{},":aex '))
    try:
        graph = OpaqueGraph.parse("".join(text))
        opaque_counts(graph.text)
        program_of(graph)
    except SpaceError:
        return


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 0},
        {"outputs": [0]},
        {"outputs": [99]},
        {"nodes": []},
        {"inputs": []},
        {"inputs": [["float99", [1]]]},
        {"inputs": [["float32", [-1]]]},
        {"weights": [["float32", [1 << 40]]]},
        {"constants": [["float32", [2], "AAAA"]]},
        {"nodes": [["MatMul", "", [0, 9], [["float32", [2, 6, 8]]], []]]},
        {"nodes": [["Relu", "", [0], [["float32", [2]]], [["a", "pickle", 1]]]]},
    ],
)
def test_rules_are_checked(change):
    with pytest.raises(SpaceError):
        OpaqueGraph.parse(json.dumps(json.loads(TEXT) | change))
