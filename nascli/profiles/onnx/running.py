"""Running an ONNX model once, to see what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
