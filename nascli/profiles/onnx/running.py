"""Running an ONNX model once, to see what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu

Array = npt.NDArray[Any]


def can_run() -> bool:
    """Return whether models can be run here."""
    return OrtCpu().missing() is None


def run_model(model: bytes, inputs: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return the outputs of a model by name, computed by ONNX Runtime on the CPU.

    Args:
        model: The bytes of a model whose inputs have static shapes.
        inputs: Values by the name of an input; inputs without a value get random ones.

    Raises:
        ModelRefusedError: ONNX Runtime refuses the model, or an output is no tensor.
        RuntimeUnavailableError: ONNX Runtime is not installed.
    """
    session = OrtCpu().load(model, RuntimeOptions())
    try:
        return session.evaluate(inputs or {})
    finally:
        session.close()


def relative_difference(value: Array, expected: Array) -> float:
    """Return the largest difference of two arrays, relative to the largest entry of the second one.

    Entries that are not finite must be equal; the difference is infinite where they are not, or where arrays that hold
    no numbers differ.
    """
    if value.shape != expected.shape:
        return float("inf")
    if value.dtype.kind not in "fiub" and value.dtype.name != "bfloat16":
        return 0.0 if np.array_equal(value, expected) else float("inf")
    value, expected = value.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(expected)
    if not np.array_equal(value[~finite], expected[~finite], equal_nan=True):
        return float("inf")
    largest = float(np.max(np.abs(expected[finite]), initial=0.0))
    off = float(np.max(np.abs(value[finite] - expected[finite]), initial=0.0))
    return off / largest if largest else off
