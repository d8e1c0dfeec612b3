"""Loading an ONNX file that nascli did not write. Files come from anywhere: nothing in them is believed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx
from onnx import defs, numpy_helper

from nascli.errors import ArchitectureError, Remedy
from nascli.profiles.onnx.external_data import all_tensors, load_external_data
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model import MAX_MESSAGE_BYTES, OnnxModel
from nascli.profiles.onnx.opaque import initializer_type, known_element
from nascli.profiles.onnx.rebatching import declare_outputs, rebatched
from nascli.profiles.onnx.static_shapes import fix_inputs
from nascli.profiles.onnx.tidying import tidy
from nascli.spaces.opaque_graphs import TensorType

__all__ = ["OnnxModel", "load_model"]

_MAX_ELEMENTS = 1 << 40


def load_model(
    path: Path,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    batch: int | None = None,
    default_batch: int = 1,
    weights: bool = True,
) -> OnnxModel:
    """Load an ONNX model with static shapes.

    Args:
        path: The file. External data must lie in its folder.
        shapes: Shapes by the name of an input, for those that leave sizes open.
        batch: Samples in the inputs. A model that is fixed at another batch is rewritten, and shown to compute the
            same for each sample. None takes the model's own.
        default_batch: Samples where neither `batch` nor the model says how many.
        weights: Whether weights in external files are read; a model without them can be counted, and no more.

    Raises:
        ArchitectureError: The file cannot be read, is damaged, too large, or newer than the installed onnx; an input
            has an open size, no elements, or is no tensor; external data lies outside of the folder; or the model
            cannot be had at this batch.
    """
    proto = _read(path)
    try:
        _check_versions(proto)
        _check_tensors(proto)
        load_external_data(proto, path, weights=weights)
        proto = tidy(proto)
        if not proto.graph.node or not proto.graph.output:
            raise ArchitectureError("the model is empty: it has no nodes, or no outputs")
        own_batch = _make_static(proto, shapes or {}, batch, default_batch)
        model = OnnxModel(path.stem, proto, own_batch)
        if batch is None or batch == own_batch:
            return model
        if shapes:
            raise ArchitectureError(
                f"the given shapes have {own_batch} samples, and {batch} are wanted.",
                "Give shapes of as many samples, or leave out the batch.",
                Remedy(arguments={"batch": own_batch}),
            )
        return rebatched(fold_constants(model), batch)
    except ArchitectureError as error:
        if error.message.startswith(str(path)):
            raise
        raise ArchitectureError(f"{path}: {error.message}", error.hint, *error.remedies) from error


def _read(path: Path) -> onnx.ModelProto:
    """Parse a file."""
    try:
        if not path.is_file():
            raise ArchitectureError(f"cannot read {path}: there is no such file")
        size = path.stat().st_size
        if size > MAX_MESSAGE_BYTES:
            raise ArchitectureError(
                f"cannot read {path}: it has {size / 1e9:.2f} GB, and the format of ONNX files ends at "
                f"{MAX_MESSAGE_BYTES / 1e9:.2f} GB.",
                "Export the model with external data, which keeps weights in files beside it.",
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ArchitectureError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except Exception as error:
        raise ArchitectureError(
            f"cannot read {path} as ONNX: the file is damaged, or something else: {error}"
        ) from error
    if not proto.HasField("graph") or not proto.opset_import:
        raise ArchitectureError(f"cannot read {path} as ONNX: it holds no model")
    return proto


def _check_versions(proto: onnx.ModelProto) -> None:
    """Refuse what the installed onnx does not know.

    Raises:
        ArchitectureError: The file's version, or that of a set of operators, is newer.
    """
    known = {"": defs.onnx_opset_version()}
    found = [("the file format", proto.ir_version, int(onnx.IR_VERSION))]
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if domain in known:
            found.append(("the set of operators", entry.version, known[domain]))
    for what, version, newest in found:
        if version > newest:
            raise ArchitectureError(
                f"{what} has version {version}, and the installed onnx {onnx.__version__} knows versions up to "
                f"{newest}.",
                "Install a newer one (pip install --upgrade onnx), or export the model for an older version.",
            )


def _check_tensors(proto: onnx.ModelProto) -> None:
    """Refuse tensors of unknown types and impossible sizes.

    Raises:
        ArchitectureError: A tensor has either, or its data is damaged.
    """
    for tensor in all_tensors(proto):
        named = f"the constant {tensor.name!r}"
        if known_element(tensor.data_type) is None:
            raise ArchitectureError(f"{named} has the unknown element type {tensor.data_type}")
        kind = initializer_type(tensor)
        if min(kind.dims, default=0) < 0 or kind.size > _MAX_ELEMENTS:
            raise ArchitectureError(f"{named} has impossible sizes: {list(kind.dims)}")
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            _check_data(tensor, kind, named)


def _check_data(tensor: onnx.TensorProto, kind: TensorType, named: str) -> None:
    if tensor.HasField("raw_data"):
        if len(tensor.raw_data) != kind.bytes or kind.element == "string":
            raise ArchitectureError(
                f"{named} is damaged: {kind} has {kind.bytes} bytes, got {len(tensor.raw_data)}"
            )
        return
    try:
        size = numpy_helper.to_array(tensor).size
    except Exception as error:
        raise ArchitectureError(f"{named} is damaged: {error}") from error
    if size != kind.size:
        raise ArchitectureError(f"{named} is damaged: {kind} has {kind.size} elements, got {size}")


def _make_static(
    proto: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], batch: int | None, default_batch: int
) -> int:
    """Fix the shapes of inputs, and of outputs as far as they follow from them; return the batch."""
    before = [value.SerializeToString() for value in proto.graph.input]
    own_batch = fix_inputs(proto, shapes, batch, default_batch)
    if before != [value.SerializeToString() for value in proto.graph.input]:
        declare_outputs(proto)
    return own_batch
