"""A model that was exported at one batch, rewritten for another, and shown to compute the same for each sample."""

from __future__ import annotations

import numpy as np
import onnx

from nascli.errors import ArchitectureError, ModelRefusedError, Remedy
from nascli.profiles.onnx.batch_rewriter import BatchRewriter
from nascli.profiles.onnx.model import OnnxModel
from nascli.profiles.onnx.running import can_run, relative_difference, run_model
from nascli.profiles.onnx.tidying import said
from nascli.profiles.onnx.value_types import infer_value_infos
from nascli.profiles.runtimes.inputs import ModelInput, input_values

# Largest difference between a sample in the batch and the sample alone, relative to the largest value.
_TOLERANCE = 1e-3
# Models with at most so many MACs in the whole batch are run at it; of others, two of the file's batches are run.
_MAX_MACS_RUN = 4_000_000_000


def rebatched(model: OnnxModel, batch: int) -> OnnxModel:
    """Return a model at another batch.

    The first sizes of inputs change, and so do the constants that depend on them (see `BatchRewriter`). The result is
    believed if its outputs have as many samples as were asked for, the MACs of its nodes grow with the batch, and ONNX
    Runtime, if it is installed, computes the same for samples in one batch and in several.

    Args:
        model: The model, with folded constants.
        batch: Samples in the inputs, at least 1.

    Raises:
        ArchitectureError: The model cannot be rewritten, or the result computes something else.
    """
    try:
        larger, smaller = max(batch, model.batch), min(batch, model.batch)
        if larger % smaller:
            raise ArchitectureError("neither batch is a multiple of the other")
        changed = _rewritten(model, batch)
        if not can_run():
            return changed
        if batch < model.batch:
            _compare(changed, model)
        elif changed.macs <= _MAX_MACS_RUN or batch == 2 * model.batch:
            _compare(model, changed)
        else:
            _compare(model, _rewritten(model, 2 * model.batch))
        return changed
    except (ArchitectureError, ModelRefusedError) as error:
        raise ArchitectureError(
            f"the model is fixed at batch {model.batch}, and cannot be rewritten for batch {batch}: "
            f"{error.message.rstrip('.')}.",
            "Export it with a dynamic batch, or ask for its own.",
            Remedy(arguments={"batch": model.batch}),
        ) from error


def _rewritten(model: OnnxModel, batch: int) -> OnnxModel:
    """Return the model at another batch, with what follows from shapes checked."""
    rewriter = BatchRewriter(model, batch)
    changed = OnnxModel(model.name, rewriter.rewrite(), batch)
    declare_outputs(changed.proto)
    for (name, old), (_, new) in zip(model.outputs, changed.outputs, strict=True):
        if not old.dims or new.dims != (old.dims[0] * batch // model.batch, *old.dims[1:]):
            raise ArchitectureError(f"its output {name!r} would become {new}, from {old}")
    for before, after in zip(model.proto.graph.node, changed.proto.graph.node, strict=True):
        # What does not depend on the samples, such as an encoding of positions, is computed once for all of them.
        is_same = all(model.types.get(name) == changed.types.get(name) for name in before.output)
        macs = (model.macs_of(before) or 0) * (1 if is_same else batch) // (1 if is_same else model.batch)
        if macs != (changed.macs_of(after) or 0):
            raise ArchitectureError(f"{said(after)} would have {changed.macs_of(after):,} MACs, not {macs:,}")
    return changed


def _compare(few: OnnxModel, many: OnnxModel) -> None:
    """Check that one run of many samples gives what runs of few give."""
    inputs = [ModelInput(name, kind.element, kind.dims) for name, kind in many.inputs]
    values = input_values(inputs, (0, 1), {})
    together = run_model(many.data, values)
    data, parts = few.data, many.batch // few.batch
    split = {
        name: np.split(value, parts) if value.ndim else [value] * parts for name, value in values.items()
    }
    alone = [run_model(data, {name: pieces[part] for name, pieces in split.items()}) for part in range(parts)]
    for name, value in together.items():
        wanted = np.concatenate([outputs[name] for outputs in alone])
        if relative_difference(value, wanted) > _TOLERANCE:
            raise ArchitectureError(f"its output {name!r} for a sample would depend on the others")


def declare_outputs(proto: onnx.ModelProto) -> None:
    """Replace the types that a model declares for its values and outputs by those that follow from its inputs."""
    graph = proto.graph
    del graph.value_info[:]
    for output in graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    inferred = infer_value_infos(proto)
    for output in graph.output:
        if output.name in inferred:
            output.CopyFrom(inferred[output.name])
