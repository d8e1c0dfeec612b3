import pytest
from small_onnx import attention_block, model_of, weight

from nascli.profiles.onnx.opaque import opaque_graph
from nascli.spaces.operators.basic import conv_block, head, max_pool
from nascli.spaces.operators.definition import Operator
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.residual_blocks import basic_block, bottleneck_block, regnet_block
from nascli.spaces.piece_names import kind_of, piece_name
from nascli.spaces.primitives import Act, Attention, Conv, Dense, Opaque, Shape
from nascli.spaces.programs import Builder, chain


def program(shape, *primitives):
    """The primitives one after the other."""
    builder, value = Builder(Shape(*shape)), 0
    for primitive in primitives:
        value = builder.append(primitive, (value,))
    return builder.build(value)


def opaque(model):
    graph = opaque_graph(
        model.proto.graph.node, [name for name, _ in model.inputs], [name for name, _ in model.outputs],
        types=model.types, initializers=model.initializers, opset=model.opset, batch=model.batch,
    )  # fmt: skip
    kind = graph.inputs[0]
    builder = Builder(Shape(kind.dims[2], kind.dims[1], 1) if len(kind.dims) == 3 else Shape(*kind.dims[1:]))
    return builder.build(builder.append(Opaque(graph.text), (0,)))


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (mbconv((16, 8, 8), 16, kernel=5, expand=6), "inverted residual 5x5"),
        (basic_block((64, 8, 8), 64), "residual block 3x3"),
        (bottleneck_block((64, 8, 8), 64), "bottleneck 3x3"),
        (regnet_block((64, 8, 8), 64, se=True), "bottleneck 3x3 + squeeze-excite"),
        (conv_block((3, 32, 32), 8, kernel=3, stride=2), "conv 3x3 s2 + relu6"),
        (conv_block((16, 8, 8), 24, kernel=1, act="none"), "pointwise 16 to 24"),
        (conv_block((16, 8, 8), 16, kernel=3, groups=16), "depthwise 3x3 + relu6"),
        (conv_block((16, 8, 8), 16, kernel=3, groups=4, act="none"), "grouped conv 3x3, 4 groups"),
        (max_pool((16, 8, 8), kernel=3, stride=2), "max pool 3x3 s2"),
        (head((16, 8, 8), 10), "global pool + linear to 10"),
    ],
)
def test_blocks_have_the_names_that_their_designers_use(given, name):
    assert piece_name(given.program if isinstance(given, Operator) else given) == name


def test_a_piece_of_many_convolutions_is_not_called_a_block():
    blocks = [basic_block((8, 8, 8), 8).program for _ in range(3)]
    assert piece_name(chain(blocks)) == "6 conv 3x3"


def test_patches_mlps_and_attention_are_seen_in_primitives():
    patches = Conv(8, (4, 4), (4, 4), norm=False, bias=True, padding=(0, 0, 0, 0))
    assert piece_name(program((3, 32, 32), patches)) == "patch embedding 4x4"
    assert piece_name(program((8, 6, 1), Dense(32), Act("gelu"), Dense(8))) == "MLP"
    builder = Builder(Shape(8, 6, 1))
    queries = builder.append(Dense(8), (0,))
    value = builder.append(Attention(2), (queries, 0, 0))
    assert piece_name(builder.build(value)) == "attention"


def test_pieces_of_onnx_are_named_by_what_they_do():
    assert piece_name(opaque(attention_block())) == "attention"
    nodes = [("MatMul", ["x", "a"], ["h"]), ("Gelu", ["h"], ["g"]), ("MatMul", ["g", "b"], ["y"])]
    weights = {"a": weight(8, 16), "b": weight(16, 8)}
    assert piece_name(opaque(model_of(nodes, {"x": (2, 6, 8)}, {"y": (2, 6, 8)}, weights))) == "MLP"
    moved = model_of([("Transpose", ["x"], ["y"], {"perm": [0, 2, 1]})], {"x": (2, 6, 8)}, {"y": (2, 8, 6)})
    assert piece_name(opaque(moved)) == "rearranging (Transpose)"
    mixed = model_of(
        [("MatMul", ["x", "a"], ["h"]), ("Softmax", ["h"], ["y"])],
        {"x": (2, 6, 8)}, {"y": (2, 6, 16)}, {"a": weight(8, 16)},
    )  # fmt: skip
    assert piece_name(opaque(mixed)) == "MatMul, Softmax"


def test_a_kind_leaves_out_what_differs_between_sizes():
    assert kind_of("pointwise 16 to 96 + relu6") == kind_of("pointwise 320 to 1280") == "pointwise"
    assert kind_of("depthwise 3x3 s2 + swish") == "depthwise 3x3"
    assert kind_of("global pool + linear to 1000") == "global pool + linear"
    assert kind_of("relu") == "relu"
