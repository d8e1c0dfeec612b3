"""Counting an ONNX file that nascli did not write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nascli.errors import ArchitectureError, SpaceError
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.opaque import is_weight
from nascli.profiles.onnx.tidying import reads, said
from nascli.spaces.opaque_graphs import TensorType


def count_onnx(path: Path, shapes: Mapping[str, tuple[int, ...]] | None = None) -> tuple[int, int, list[str]]:
    """Count the MACs and parameters of an ONNX model by the rules of `nascli.spaces.opaque_counts`.

    The first size of the first input is taken as the batch.

    Args:
        path: The file; weights in external files are not needed.
        shapes: Shapes by the name of an input, for those that leave sizes open besides the batch.

    Returns:
        The MACs for one sample, the number of parameters, and the sorted types of all other nodes.

    Raises:
        ArchitectureError: The file cannot be read, or a shape cannot be inferred.
    """
    model = load_model(path, shapes=shapes, weights=False)
    readers: dict[str, list[str]] = {}
    macs, uncounted = 0, set()
    # The light models that onnx ships compute their weights by nodes, to be small.
    filled: dict[str, TensorType] = {}
    for node in model.proto.graph.node:
        try:
            own = model.macs_of(node)
        except SpaceError as error:
            raise ArchitectureError(
                f"{path}: the shape of {said(node)} cannot be inferred, so it cannot be counted.",
                "Export the model with static shapes.",
            ) from error
        if own is None:
            uncounted.add(node.op_type)
        macs += own or 0
        for name in reads(node):
            readers.setdefault(name, []).append(node.op_type)
        if node.op_type == "ConstantOfShape" and node.output[0] in model.types:
            filled[node.output[0]] = model.types[node.output[0]]
    constants = filled | {name: model.types[name] for name in model.initializers}
    params = sum(
        kind.size for name, kind in constants.items() if name in readers and is_weight(kind, readers[name])
    )
    return macs // model.batch, params, sorted(uncounted)
