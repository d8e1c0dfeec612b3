from small_onnx import model_of, weight

from nascli.lut.in_context.carriers import carry, subjects_in_context
from nascli.lut.in_context.cold_weights import cold_matters
from nascli.lut.in_context.neighbours import neighbour_before, neighbour_behind
from nascli.profiles.onnx.networks import network_of
from nascli.spaces.opaque_graphs import OpaqueGraph, OpaqueNode, TensorType
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.definition import Operator
from nascli.spaces.primitives import Opaque, Shape
from nascli.spaces.programs import Builder


def kinds(program):
    return [
        node.op for n in program.nodes if isinstance(n.primitive, Opaque) for node in n.primitive.parsed.nodes
    ] or [n.primitive.kind for n in program.nodes]


def operators(nodes, inputs, outputs, constants=None):
    return network_of(model_of(nodes, inputs, outputs, constants)).operators


def test_images_get_convolutions_tokens_products_vectors_linear_layers():
    image = conv_block((8, 6, 6), 12, kernel=3).program
    assert kinds(neighbour_before(image)) == ["conv"] and kinds(neighbour_behind(image)) == ["conv"]
    (softmax,) = operators([("Softmax", ["x"], ["y"])], {"x": (1, 5, 8)}, {"y": (1, 5, 8)})
    assert kinds(neighbour_before(softmax.program)) == ["MatMul", "Add"]
    (mean,) = operators(
        [("ReduceMax", ["x", "a"], ["y"], {"keepdims": 0})],
        {"x": (1, 5, 8)}, {"y": (1, 8)}, {"a": __import__("numpy").array([1])},
    )  # fmt: skip
    assert kinds(neighbour_behind(mean.program)) == ["linear"]
    assert kinds(neighbour_behind(head((8, 4, 4), 10).program)) == ["linear"]


def test_images_with_their_channels_last_get_products():
    nodes = [
        ("LayerNormalization", ["x", "s"], ["n"]),
        ("MatMul", ["n", "w"], ["m"]),
        ("Softmax", ["m"], ["y"]),
    ]
    first, _, last = operators(
        nodes, {"x": (1, 5, 6, 8)}, {"y": (1, 5, 6, 8)}, {"s": weight(8), "w": weight(8, 8)}
    )
    assert kinds(neighbour_before(first.program)) == ["MatMul", "Add"]
    assert kinds(neighbour_behind(last.program)) == ["MatMul", "Add"]


def test_indices_have_no_neighbour():
    tokens = TensorType("int64", (2, 5))
    graph = OpaqueGraph(
        batch=2,
        opset=(("", 20),),
        inputs=(tokens,),
        weights=(TensorType("float32", (10, 4)),),
        constants=(),
        nodes=(OpaqueNode("Gather", "", (1, 0), (TensorType("float32", (2, 5, 4)),)),),
        outputs=(2,),
    )
    builder = Builder(Shape(5, 1, 1))
    program = builder.build(builder.append(Opaque(graph.text), (0,)))
    assert neighbour_before(program) is None
    carrier = carry(Operator("embedding", (), program))
    assert len(carrier.references) == 1 and kinds(carrier.operator.program) == ["Gather", "MatMul", "Add"]


def test_cold_carriers_are_measured_in_copies():
    late = conv_block((256, 7, 7), 256, kernel=1)
    assert cold_matters(late.program, 1) and not cold_matters(late.program, 16)
    assert not cold_matters(conv_block((32, 7, 7), 32, kernel=1).program, 1)
    warm, cold = carry(late), carry(late, cold_at_batch=1)
    assert warm.operator.program.copies == 1
    assert cold.operator.program.copies > 1 and all(r.program.copies > 1 for r in cold.references)
    assert carry(late, cold_at_batch=16) == warm


def test_what_is_measured_for_tokens():
    block = operators(
        [("MatMul", ["x", "w"], ["m"]), ("Softmax", ["m"], ["s"]), ("Add", ["s", "x"], ["y"])],
        {"x": (1, 5, 8)}, {"y": (1, 5, 8)}, {"w": weight(8, 8)},
    )  # fmt: skip
    from nascli.spaces.blocks import Placement

    models = subjects_in_context([Placement(block[0], False, False)])
    assert [m.label.split(" ")[0] for m in models] == ["MatMul-Softmax-Add", "carrier", "reference"]


def test_very_many_channels_have_no_neighbour():
    """A linear layer from 25,088 features to themselves, behind VGG's last pooling, would have 2.5 GB of weights."""
    wide = operators([("Softmax", ["x"], ["y"])], {"x": (1, 25088)}, {"y": (1, 25088)})[0]
    assert neighbour_before(wide.program) is None and neighbour_behind(wide.program) is None
    assert carry(wide).references == ()
