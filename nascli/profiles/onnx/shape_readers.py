"""Nodes of ONNX graphs that move elements: parts, concatenations, and other orders of dimensions."""

from __future__ import annotations

import math
from dataclasses import replace

import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.reading import Held, Reading, Scores, attributes_of, name_of
from nascli.profiles.onnx.views import CHANNELS, Atom, View
from nascli.spaces import primitives as p


def read_slice(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Slice, a range of channels."""
    starts, stops = r.integers(node.input[1]), r.integers(node.input[2])
    axes = r.integers(node.input[3]) if len(node.input) > 3 and node.input[3] else list(range(len(starts)))
    steps = r.integers(node.input[4]) if len(node.input) > 4 and node.input[4] else [1] * len(starts)
    view = r.view(node.input[0])
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        place = axis % len(view.dims)
        size = view.sizes[place]
        first, last = (max(0, min(bound + size if bound < 0 else bound, size)) for bound in (start, stop))
        if step == 1 and (first, last) == (0, size):
            continue
        if step != 1:
            raise ArchitectureError(f"Slice is supported along the channels, got axis {axis}, step {step}")
        view = _part(r, view, place, first, last)
    return view


def _part(r: Reading, view: View, place: int, start: int, stop: int) -> View:
    """Return the view of a part of a dimension, which must be a range of channels."""
    dim, channels = view.dims[place], r.shape(view).channels
    atom = dim[0] if dim else None
    if atom is None or atom.axis != CHANNELS or len(dim) > 1 or atom.stride * atom.size != channels:
        raise ArchitectureError(
            f"parts of values are supported along the channels, got {view.sizes}, axis {place}"
        )
    value = r.append(p.Split(start * atom.stride, stop * atom.stride), view.value)
    left = (Atom(CHANNELS, atom.stride, stop - start),) if stop - start > 1 else ()
    return View(value, (*view.dims[:place], left, *view.dims[place + 1 :]))


def read_split(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Split, ranges of channels one behind the other."""
    view = r.view(node.input[0])
    a = attributes_of(node)
    place = int(a.get("axis", 0)) % len(view.dims)
    size, parts = view.sizes[place], len(node.output)
    if len(node.input) > 1 and node.input[1]:
        sizes = r.integers(node.input[1])
    elif "split" in a:
        sizes = [int(part) for part in a["split"]]
    else:
        each = -(-size // parts)
        sizes = [min(each, size - i * each) for i in range(parts)]
    start, views = 0, []
    for part in sizes:
        views.append(_part(r, view, place, start, start + part))
        start += part
    for name, part_view in zip(node.output, views, strict=True):
        r.held[name] = part_view
    return views[0]


def read_gather(r: Reading, node: onnx.NodeProto) -> Held:
    """Read the choice of one entry of a dimension, such as the queries of an attention, or of all in their order."""
    view = r.view(node.input[0])
    place = int(attributes_of(node).get("axis", 0)) % len(view.dims)
    dims, sizes = r.dims(node.input[1]), view.sizes
    index = r.scalar(node.input[1])
    if math.prod(dims) == sizes[place] and r.integers(node.input[1]) == list(range(sizes[place])):
        return r.settled(view.reshaped([*sizes[:place], *dims, *sizes[place + 1 :]]))
    if index is None:
        raise ArchitectureError(
            f"node {name_of(node)}: Gather is supported with one index along the channels"
        )
    entry = int(index) % view.sizes[place]
    part = _part(r, view, place, entry, entry + 1)
    if dims:
        return part
    return replace(part, dims=(*part.dims[:place], *part.dims[place + 1 :]))


def read_concat(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Concat along the channels."""
    axis = int(attributes_of(node)["axis"])
    views = [r.view(name) for name in node.input]
    place = axis % len(views[0].dims)
    first = views[0]
    rest = [dim for i, dim in enumerate(first.dims) if i != place]
    if all(
        r.has_channels_at(view, place) and [dim for i, dim in enumerate(view.dims) if i != place] == rest
        for view in views
    ):
        value = r.append(p.Concat(), *(view.value for view in views))
        return first.with_channels(value, r.builder.shape_of(value).channels, place)
    if place != 1:
        raise ArchitectureError(f"Concat is supported along the channels, got axis {axis}")
    return r.plain_view(r.append(p.Concat(), *(r.plain(name) for name in node.input)))


def read_transpose(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Transpose, which changes the order of dimensions."""
    held = r.of(node.input[0])
    perm = [int(axis) for axis in attributes_of(node).get("perm", ())]
    if isinstance(held, Scores):
        if perm[-2:] != [len(perm) - 1, len(perm) - 2] or perm[:-2] != list(range(len(perm) - 2)):
            raise ArchitectureError(f"node {name_of(node)}: scores of attention are transposed to {perm}")
        return replace(held, transposed=not held.transposed)
    view = r.view(node.input[0])
    return view.transposed(perm or list(range(len(view.dims) - 1, -1, -1)))


def read_reshape(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Reshape, which takes dimensions apart and puts them together."""
    view = r.view(node.input[0])
    wanted = r.integers(node.input[1])
    sizes = view.sizes
    if not attributes_of(node).get("allowzero", 0):
        wanted = [sizes[i] if size == 0 and i < len(sizes) else size for i, size in enumerate(wanted)]
    known = math.prod(size for size in wanted if size != -1)
    wanted = [math.prod(sizes) // max(1, known) if size == -1 else size for size in wanted]
    return r.settled(view.reshaped(wanted))


def read_flatten(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Flatten."""
    view = r.view(node.input[0])
    axis = int(attributes_of(node).get("axis", 1))
    first, last = view.sizes[:axis], view.sizes[axis:]
    return view.reshaped([math.prod(first), math.prod(last)])


def read_squeeze(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Squeeze and Unsqueeze."""
    view = r.view(node.input[0])
    a = attributes_of(node)
    axes = a.get("axes") or (r.integers(node.input[1]) if len(node.input) > 1 else None)
    sizes = view.sizes
    if node.op_type == "Unsqueeze":
        if axes is None:
            raise ArchitectureError(f"node {name_of(node)} has no axes")
        rank = len(sizes) + len(axes)
        for axis in sorted(int(axis) % rank for axis in axes):
            sizes.insert(axis, 1)
        return view.reshaped(sizes)
    gone = {int(axis) % len(sizes) for axis in axes} if axes is not None else set()
    gone = gone or {i for i, size in enumerate(sizes) if size == 1}
    if any(sizes[i] != 1 for i in gone):
        raise ArchitectureError(f"node {name_of(node)}: only sizes of 1 can be left out, got {sizes}")
    return view.reshaped([size for i, size in enumerate(sizes) if i not in gone])


def read_depth_to_space(r: Reading, node: onnx.NodeProto) -> Held:
    """Read DepthToSpace and SpaceToDepth."""
    a = attributes_of(node)
    blocks_first = node.op_type == "SpaceToDepth" or a.get("mode", b"DCR") == b"DCR"
    factor, value = int(a["blocksize"]), r.plain(node.input[0])
    kind = p.PixelUnshuffle if node.op_type == "SpaceToDepth" else p.PixelShuffle
    return r.plain_view(r.append(kind(factor, blocks_first), value))
