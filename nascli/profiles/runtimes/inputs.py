"""The inputs with which models are run: random values by type, or values that the user gives.

All runtimes take the same values for the same model, so that their outputs can be compared.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from nascli.errors import ModelRefusedError, NascliError, Remedy

Array = npt.NDArray[Any]

# Types that numpy lacks. Files of numpy cannot hold them, so their values are given in fp32.
EXTENDED_TYPES: Mapping[str, np.dtype[Any]] = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in (
        "bfloat16",
        "float8_e4m3fn",
        "float8_e4m3fnuz",
        "float8_e5m2",
        "float8_e5m2fnuz",
    )
}
_PLAIN_TYPES = (
    "float16", "float32", "float64", "bool", "complex64", "complex128",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
)  # fmt: skip
# Text; numpy keeps it as Python objects.
STRING = "string"


@dataclass(frozen=True)
class ModelInput:
    """One input of a model.

    Attributes:
        name: The name in the model.
        type_name: The element type: a name of numpy's, one of `EXTENDED_TYPES`, or 'string'.
        shape: The sizes, all known.
    """

    name: str
    type_name: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type in numpy."""
        if self.type_name == STRING:
            return np.dtype(object)
        return EXTENDED_TYPES.get(self.type_name) or np.dtype(self.type_name)

    def __str__(self) -> str:
        return f"{self.name} ({self.type_name}, {'x'.join(map(str, self.shape)) or 'a scalar'})"


def model_input(
    name: str, type_name: str | None, shape: Sequence[object], told: str, *, what: str = "input"
) -> ModelInput:
    """Return an input that values can be made for, or an output that memory can be made for.

    Args:
        name: The name in the model.
        type_name: The element type as in `ModelInput`; None if the input is no tensor, or of a type without a name.
        shape: The sizes; what is not an integer of at least 0 is a size that the model leaves open.
        told: The type in the words of the runtime, for the error.
        what: 'input' or 'output', for the error.

    Raises:
        ModelRefusedError: A size is open, or no values can be made for the type.
    """
    if type_name is None or type_name not in (*_PLAIN_TYPES, *EXTENDED_TYPES, STRING):
        raise ModelRefusedError(
            f"the model's {what} {name} is of the type {told}, for which no values can be made."
        )
    sizes = tuple(size for size in shape if isinstance(size, int) and size >= 0)
    if len(sizes) < len(shape):
        shown = "x".join("?" if size is None or size == -1 else str(size) for size in shape)
        raise ModelRefusedError(
            f"the model leaves sizes of its {what} {name} open: {shown}. A model is run with sizes that are numbers.",
            "Give the whole shape of each input.",
            Remedy(arguments={"shapes": None}),
        )
    return ModelInput(name, type_name, sizes)


def input_values(
    inputs: Sequence[ModelInput], integer_range: tuple[int, int], given: Mapping[str, Array]
) -> dict[str, Array]:
    """Return values for every input of a model.

    Floating-point values are standard normal, booleans fair coins, and integers uniform. The seed is the name of the
    input, so that all runtimes draw the same values, also where one of them drops an input that nothing reads.

    Args:
        inputs: The model's inputs, in the order of the model.
        integer_range: The lowest and the highest integer; strings are integers of this range in digits.
        given: Values by the name of an input, which replace random ones.

    Returns:
        For each name an array of the input's type and shape.

    Raises:
        NascliError: A given value does not fit an input, or a type cannot hold the range of integers.
    """
    values = fitting_values(inputs, given)
    return {
        one.name: values[one.name]
        if one.name in values
        else _random_values(one, integer_range, np.random.default_rng(zlib.crc32(one.name.encode())))
        for one in inputs
    }


def fitting_values(inputs: Sequence[ModelInput], given: Mapping[str, Array]) -> dict[str, Array]:
    """Return given values in the types of the inputs that they are for.

    Args:
        inputs: The model's inputs.
        given: Values by name. Those for a type that numpy lacks may be in fp32; every other has the input's type.

    Raises:
        NascliError: No input has a name, or a value has another type or shape than its input.
    """
    by_name = {one.name: one for one in inputs}
    listing = f"The model's inputs: {', '.join(map(str, inputs)) or 'none'}."
    fitting = {}
    for name, value in given.items():
        one = by_name.get(name)
        if one is None:
            raise NascliError(f"the model has no input {name!r}.", listing)
        if tuple(value.shape) != one.shape:
            raise NascliError(
                f"the value for the input {name} has the shape {'x'.join(map(str, value.shape)) or 'of a scalar'}.",
                listing,
            )
        if value.dtype != one.dtype and not _converts(value, one):
            raise NascliError(f"the value for the input {name} is of the type {value.dtype}.", listing)
        fitting[name] = np.ascontiguousarray(value.astype(one.dtype)).reshape(one.shape)
    return fitting


def _converts(value: Array, one: ModelInput) -> bool:
    """Return whether a value is of the type that stands for the input's in files of numpy."""
    if one.type_name == STRING:
        return value.dtype.kind == "U"
    return one.type_name in EXTENDED_TYPES and value.dtype == np.float32


def _random_values(one: ModelInput, integer_range: tuple[int, int], rng: np.random.Generator) -> Array:
    kind = np.dtype(one.type_name).kind if one.type_name in _PLAIN_TYPES else ""
    if kind == "b":
        return rng.integers(0, 2, one.shape).astype(bool)
    if kind == "f" or one.type_name.startswith(("bfloat", "float")):
        # Drawn in fp32 for every type but fp64, so that models in other precisions get the same values, rounded.
        drawn = np.float64 if one.type_name == "float64" else np.float32
        return np.asarray(rng.standard_normal(one.shape, dtype=drawn), dtype=one.dtype)
    if kind == "c":
        parts = rng.standard_normal((2, *one.shape))
        return np.asarray(parts[0] + 1j * parts[1], dtype=one.dtype)
    low, high = integer_range
    if one.type_name == STRING:
        texts = [str(number) for number in rng.integers(low, high, int(np.prod(one.shape)), endpoint=True)]
        return np.array(texts, dtype=object).reshape(one.shape)
    limits = np.iinfo(one.dtype)
    if not int(limits.min) <= low <= high <= int(limits.max):
        raise NascliError(
            f"the input {one} holds integers from {limits.min} to {limits.max}, and the range of integers is "
            f"{low} to {high}.",
            "Give a range that the type holds, or the values themselves.",
            Remedy(arguments={"integer_range": None}),
        )
    wide = np.uint64 if high > np.iinfo(np.int64).max else np.int64
    return np.asarray(rng.integers(low, high, one.shape, dtype=wide, endpoint=True)).astype(one.dtype)
