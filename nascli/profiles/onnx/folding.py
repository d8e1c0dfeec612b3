"""Folding the constants of an ONNX model: computations that no input takes part in become initialisers.

onnxscript computes them. Nothing is fused or rewritten: nodes that multiply matrices stay nodes even if all of their
inputs are constants, so that MACs stay what they are.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.model import MAX_MESSAGE_BYTES, OnnxModel
from nascli.profiles.onnx.tidying import tidy
from nascli.spaces.opaque_counts import has_macs

# Constants with more elements are left to be computed.
_MAX_ELEMENTS = 1 << 28
# What onnxscript leaves alone unless it is told otherwise, and what stays so: it says how a model is quantised.
_IR_VERSION = 4
_QUANTISING = ("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear")


def fold_constants(model: OnnxModel) -> OnnxModel:
    """Return a model in which shapes, indices, and whatever else depends on no input are initialisers.

    Unused nodes and initialisers are removed. Names of inputs and outputs stay.

    Raises:
        ArchitectureError: onnxscript cannot fold the model, or the folded model would be too large.
    """
    import onnx_ir
    from onnx_ir.passes import common
    from onnxscript.optimizer import fold_constants_ir

    proto = with_value_infos(model)
    # What is an input and has a value too could be replaced; here nobody does.
    inputs = [value for value in proto.graph.input if value.name not in model.initializers]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    # Older versions want every initialiser to be an input.
    proto.ir_version = max(proto.ir_version, _IR_VERSION)
    if proto.ByteSize() > MAX_MESSAGE_BYTES:
        raise ArchitectureError(
            f"{model.name} has {proto.ByteSize() / 1e9:.2f} GB with its weights: its constants cannot be folded."
        )
    try:
        with _without_messages():
            graph = onnx_ir.from_proto(proto)
            fold_constants_ir(
                graph,
                onnx_shape_inference=True,
                input_size_limit=_MAX_ELEMENTS,
                output_size_limit=_MAX_ELEMENTS,
                should_fold=_should_fold,
            )
            common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(graph)
            common.RemoveUnusedNodesPass()(graph)
            common.NameFixPass()(graph)
            folded = onnx_ir.to_proto(graph)
    except Exception as error:
        raise ArchitectureError(f"the constants of {model.name} cannot be folded: {error}") from error
    del folded.graph.value_info[:]
    return OnnxModel(model.name, tidy(folded), model.batch)


def with_value_infos(model: OnnxModel) -> onnx.ModelProto:
    """Return the model as a message that says the type of each of its values, as far as it is known."""
    from nascli.profiles.onnx.opaque import value_info

    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    del proto.graph.value_info[:]
    ends = {value.name for value in [*proto.graph.input, *proto.graph.output]}
    proto.graph.value_info.extend(
        value_info(name, kind)
        for name, kind in model.types.items()
        if name not in ends and name not in model.initializers
    )
    return proto


def _should_fold(node: Any) -> bool | None:
    """Return whether onnxscript folds a node whose inputs are constants; None leaves it to its own rules."""
    if node.op_type in _QUANTISING or has_macs(node.op_type):
        return False
    return True if node.op_type == "ConstantOfShape" else None


@contextmanager
def _without_messages() -> Iterator[None]:
    """Keep onnxscript from logging what it leaves alone."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
