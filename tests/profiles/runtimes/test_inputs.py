import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from nascli.errors import ModelRefusedError, NascliError
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.inputs import ModelInput, fitting_values, input_values, model_input
from nascli.profiles.runtimes.ort_cpu import OrtCpu


def values(*inputs, integer_range=(0, 1), **given):
    return input_values(inputs, integer_range, given)


def test_values_follow_the_type():
    got = values(
        ModelInput("f", "float32", (400,)), ModelInput("h", "float16", (400,)), ModelInput("i", "int64", (400,)),
        ModelInput("b", "bool", (400,)), ModelInput("d", "float64", ()), ModelInput("s", "string", (2, 3)),
        ModelInput("w", "bfloat16", (400,)), ModelInput("c", "complex64", (2,)), ModelInput("e", "float32", (0, 3)),
        integer_range=(-2, 5),
    )  # fmt: skip
    assert {name: str(value.dtype) for name, value in got.items()} == {
        "f": "float32", "h": "float16", "i": "int64", "b": "bool", "d": "float64", "s": "object",
        "w": "bfloat16", "c": "complex64", "e": "float32",
    }  # fmt: skip
    assert set(got["i"].tolist()) == set(range(-2, 6)) and 100 < got["b"].sum() < 300
    assert abs(got["f"].std() - 1) < 0.1 and got["d"].shape == () and got["e"].shape == (0, 3)
    assert set(got["s"].ravel()) <= {str(number) for number in range(-2, 6)} and got["s"].shape == (2, 3)
    # Two inputs differ, also where they are alike; the same name has the same values again.
    twice = values(
        ModelInput("e", "float32", (9,)),
        ModelInput("f", "float32", (400,)),
        ModelInput("g", "float32", (400,)),
    )
    assert np.array_equal(twice["f"], got["f"]) and not np.array_equal(twice["g"], got["f"])
    assert np.array_equal(
        got["w"], values(ModelInput("w", "float32", (400,)))["w"].astype(ml_dtypes.bfloat16)
    )


def test_an_input_has_the_same_values_whichever_others_are_given():
    inputs = ModelInput("x", "float32", (3,)), ModelInput("y", "float32", (3,))
    given = values(*inputs, x=np.zeros(3, np.float32))
    assert not given["x"].any() and np.array_equal(given["y"], values(*inputs)["y"])


def test_integers_that_a_type_cannot_hold():
    with pytest.raises(
        NascliError, match="tokens.*holds integers from -128 to 127, and the range of integers is 0 to 999"
    ):
        values(ModelInput("tokens", "int8", (4,)), integer_range=(0, 999))
    assert (
        values(ModelInput("u", "uint64", (9,)), integer_range=(2**64 - 1, 2**64 - 1))["u"].min() == 2**64 - 1
    )
    with pytest.raises(NascliError, match="not 3 to 1"):
        RuntimeOptions(integer_range=(3, 1))


def test_given_values_fit_name_shape_and_type():
    inputs = ModelInput("x", "float32", (2, 3)), ModelInput("n", "int64", ())
    for name, value, rule in (
        ("z", np.zeros(3), "no input 'z'"),
        ("x", np.zeros((3, 2), np.float32), "shape 3x2"),
        ("x", np.zeros((2, 3)), "type float64"),
        ("n", np.int32(3), "type int32"),
    ):
        with pytest.raises(NascliError, match=rule) as caught:
            fitting_values(inputs, {name: np.asarray(value)})
        assert "x (float32, 2x3), n (int64, a scalar)" in str(caught.value)
    assert fitting_values(inputs, {"n": np.asarray(7)})["n"].shape == ()
    # Files of numpy hold neither bfloat16 nor strings as objects.
    half = fitting_values([ModelInput("w", "bfloat16", (2,))], {"w": np.array([1, 1.001], np.float32)})["w"]
    assert half.dtype == ml_dtypes.bfloat16 and half.tolist() == [1, 1]
    assert fitting_values([ModelInput("s", "string", (1,))], {"s": np.array(["a"])})["s"].dtype == object


def test_what_has_no_values_is_refused():
    for kind, shape, rule in (
        (None, [], "input x is of the type seq"),
        ("int4", [2], "no values can be made"),
        ("float32", ["batch", 3], "input x open: batchx3"),
        ("float32", [None, -1, 2], r"open: \?x\?x2"),
    ):
        with pytest.raises(ModelRefusedError, match=rule):
            model_input("x", kind, shape, "seq(tensor(float))" if kind is None else str(kind))


def test_what_the_timing_depends_on_is_part_of_the_key():
    assert RuntimeOptions().mode == ""
    assert RuntimeOptions(integer_range=(0, 99)).mode == "integers 0 to 99"
    one, same, other = (RuntimeOptions(inputs={"x": np.full(2, value)}).mode for value in (1.0, 1.0, 2.0))
    assert one == same != other and one.startswith("inputs ")


def model(node, inputs, outputs):
    return onnx.helper.make_model(
        helper.make_graph([node], "g", inputs, outputs),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    ).SerializeToString()


@pytest.mark.parametrize(
    "kind",
    [
        "FLOAT",
        "DOUBLE",
        "FLOAT16",
        "BFLOAT16",
        "FLOAT8E4M3FN",
        "FLOAT8E5M2",
        "INT8",
        "UINT8",
        "INT32",
        "UINT64",
        "BOOL",
        "STRING",
    ],
)
def test_onnx_runtime_takes_and_returns_every_type(kind):
    number = TensorProto.DataType.Value(kind)
    info = [helper.make_tensor_value_info(name, number, (2, 3)) for name in ("x", "y")]
    session = OrtCpu().load(
        model(helper.make_node("Identity", ["x"], ["y"]), info[:1], info[1:]), RuntimeOptions()
    )
    assert session.time(2, warmup=1).seconds.min() > 0
    (value,) = session.evaluate({}).values()
    assert value.shape == (2, 3) and len(set(value.ravel().tolist())) > 1
    again = session.evaluate({"x": np.roll(value, 1)})["y"]
    assert again.dtype == value.dtype and np.array_equal(again, np.roll(value, 1))
    session.close()


def test_onnx_runtime_and_sequences():
    tensors = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))]
    sequence = [helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)]
    # A sequence comes out: it is timed, and no array.
    session = OrtCpu().load(
        model(helper.make_node("SequenceConstruct", ["x"], ["s"]), tensors, sequence), RuntimeOptions()
    )
    assert session.time(2).seconds.min() > 0
    with pytest.raises(ModelRefusedError, match="output s is of the type seq"):
        session.evaluate({})
    node = helper.make_node("ConcatFromSequence", ["s"], ["x"], axis=0)
    with pytest.raises(ModelRefusedError, match="input s is of the type seq"):
        OrtCpu().load(model(node, sequence, tensors), RuntimeOptions())


def test_an_output_that_numpy_lacks_is_timed_and_not_returned():
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 4))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT4, (2, 4))]
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT4)
    graph = helper.make_graph([node], "g", inputs, outputs)
    data = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    ).SerializeToString()
    session = OrtCpu().load(data, RuntimeOptions())
    assert session.time(2).seconds.min() > 0
    with pytest.raises(ModelRefusedError, match="output y is of the type"):
        session.evaluate({})


def test_a_model_that_fails_while_it_runs_is_refused():
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3)),
        helper.make_tensor_value_info("i", TensorProto.INT64, (1,)),
    ]
    out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3))]
    session = OrtCpu().load(
        model(helper.make_node("Gather", ["x", "i"], ["y"]), inputs, out),
        RuntimeOptions(integer_range=(7, 7)),
    )
    for call in (lambda: session.time(2), lambda: session.evaluate({})):
        with pytest.raises(ModelRefusedError, match="cannot run the model.*out of"):
            call()
