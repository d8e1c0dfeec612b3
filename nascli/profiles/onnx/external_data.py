"""Weights of ONNX models that lie in files of their own, beside the model's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx import TensorProto

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.opaque import initializer_type

# Tensors up to this size may decide shapes, and are read even where weights are not wanted.
_SMALL_BYTES = 4096


def load_external_data(model: onnx.ModelProto, path: Path, *, weights: bool) -> None:
    """Read external tensors into a model.

    Args:
        model: The model, which is changed.
        path: Its file. Its folder must contain the external files.
        weights: Whether all tensors are read. Otherwise large ones stay outside, and their files need not exist.

    Raises:
        ArchitectureError: A file lies outside of the folder, cannot be read, or is too short; or the tensors do not
            fit into memory.
    """
    external = [tensor for tensor in all_tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL]
    places = [(tensor, *_place(tensor, path)) for tensor in external]
    total = sum(initializer_type(tensor).bytes for tensor, *_ in places)
    available = available_memory()
    if weights and available is not None and total > available:
        raise ArchitectureError(
            f"{path}: its external data has {total / 1e9:.1f} GB, and {available / 1e9:.1f} GB of memory are available."
        )
    for tensor, file, offset in places:
        size = initializer_type(tensor).bytes
        if weights or (size <= _SMALL_BYTES and file.is_file()):
            tensor.raw_data = _read(file, offset, size, tensor.name, path)
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a model: initialisers and attributes, those of subgraphs and functions included."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("g"):
                yield from _graph_tensors(attribute.g)
            for graph in attribute.graphs:
                yield from _graph_tensors(graph)


def available_memory() -> int | None:
    """Return the bytes of memory that are available; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _place(tensor: onnx.TensorProto, path: Path) -> tuple[Path, int]:
    """Return the file of a tensor and where in it the tensor begins."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    named = f"{path}: the external data of {tensor.name!r}"
    if not location:
        raise ArchitectureError(f"{named} has no location")
    # A file from one system may be read on another, so both kinds of paths are looked at.
    parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
    is_absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).is_absolute()
    if is_absolute or ".." in parts or PureWindowsPath(location).drive or "\0" in location:
        raise ArchitectureError(f"{named} lies outside of the model's folder: {location!r}. It is not read.")
    try:
        folder = path.parent.resolve()
        file = (path.parent / location).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise ArchitectureError(f"{named}: {location!r} cannot be followed: {error}") from error
    if not file.is_relative_to(folder):
        raise ArchitectureError(
            f"{named} lies outside of the model's folder: {location!r} is a link to {file}. It is not read."
        )
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", initializer_type(tensor).bytes))
    except ValueError as error:
        raise ArchitectureError(f"{named}: offset and length must be integers") from error
    if offset < 0 or length != initializer_type(tensor).bytes:
        raise ArchitectureError(
            f"{named}: a tensor {initializer_type(tensor)} has {initializer_type(tensor).bytes} bytes, got {length} "
            f"at {offset}"
        )
    return file, offset


def _read(file: Path, offset: int, size: int, name: str, path: Path) -> bytes:
    try:
        if not file.is_file():
            raise ArchitectureError(
                f"{path}: its external data {file.name!r} is missing.",
                "Keep it in the folder of the model.",
            )
        with file.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(size)
    except OSError as error:
        raise ArchitectureError(f"{path}: cannot read {file}: {error.strerror or error}") from error
    if len(data) != size:
        raise ArchitectureError(
            f"{path}: the external data of {name!r} ends early: {size} bytes are wanted at {offset}, and {file.name} "
            f"has {len(data)} there"
        )
    return data
