"""Inputs and outputs of ONNX Runtime, which numpy's own types do not cover."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.errors import ModelRefusedError
from nascli.profiles.runtimes.inputs import EXTENDED_TYPES, ModelInput, model_input
from nascli.profiles.runtimes.ort_package import onnxruntime_package

# ONNX Runtime's names of element types that are not numpy's.
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "float": "float32",
        "double": "float64",
        "float8e4m3fn": "float8_e4m3fn",
        "float8e4m3fnuz": "float8_e4m3fnuz",
        "float8e5m2": "float8_e5m2",
        "float8e5m2fnuz": "float8_e5m2fnuz",
    }
)
# ONNX's names of the types that numpy lacks.
_ONNX_NAMES: Mapping[str, str] = MappingProxyType(
    {name: name.replace("_", "").upper() for name in EXTENDED_TYPES}
)


def type_name(told: str) -> str | None:
    """Return the element type of a tensor as `ModelInput` names it; None if the value is no tensor.

    Args:
        told: The type in ONNX Runtime's words, such as 'tensor(float)' or 'seq(tensor(int64))'.
    """
    if not (told.startswith("tensor(") and told.endswith(")")):
        return None
    name = told[len("tensor(") : -1]
    return _NAMES.get(name, name)


def inputs_of(session: Any) -> tuple[ModelInput, ...]:
    """Return the inputs of an `InferenceSession`.

    Raises:
        ModelRefusedError: An input has an open size, or is no tensor.
    """
    return tuple(
        model_input(one.name, type_name(one.type), one.shape, one.type) for one in session.get_inputs()
    )


def to_ort_value(one: ModelInput, value: npt.NDArray[Any], *where: Any) -> Any:
    """Return an `OrtValue` with an input's value.

    Args:
        one: The input.
        value: Its value.
        where: The name and the number of a device; the CPU, on top of the array, without them.

    Raises:
        ModelRefusedError: ONNX Runtime takes no values of this type from outside.
    """
    from onnx import TensorProto

    ort = onnxruntime_package()

    try:
        if one.type_name in EXTENDED_TYPES:
            bits = np.dtype(f"uint{8 * one.dtype.itemsize}")
            number = TensorProto.DataType.Value(_ONNX_NAMES[one.type_name])
            return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(value.view(bits), number)
        return ort.OrtValue.ortvalue_from_numpy(value, *where)
    except Exception as error:
        raise ModelRefusedError(
            f"this ONNX Runtime takes no values for the input {one} from Python: {error}"
        ) from error


def from_ort_value(name: str, told: str, value: Any) -> npt.NDArray[Any]:
    """Return an output on the CPU as an array of its own.

    Args:
        name: The name of the output.
        told: Its type in ONNX Runtime's words.
        value: The `OrtValue`.

    Raises:
        ModelRefusedError: The output is no tensor, or its type has no equal in numpy.
    """
    kind = type_name(told)
    if kind is None or not value.is_tensor():
        raise ModelRefusedError(f"the model's output {name} is of the type {told}, which is no tensor.")
    if kind not in EXTENDED_TYPES:
        try:
            return np.array(value.numpy())
        except RuntimeError as error:
            raise ModelRefusedError(
                f"the model's output {name} is of the type {told}, which numpy lacks."
            ) from error
    # `numpy()` knows nothing of these types, but the memory is there.
    data = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(data, EXTENDED_TYPES[kind]).reshape(value.shape()).copy()
