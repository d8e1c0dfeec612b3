"""Matrix products of ONNX graphs as primitives: fully connected layers and attention."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx

from nascli.errors import ArchitectureError
from nascli.profiles.onnx.reading import Held, Reading, Scores, attributes_of, name_of
from nascli.profiles.onnx.views import CHANNELS, Atom, Dimension, View, positions
from nascli.profiles.onnx.window_readers import is_per_channel, with_folded_bias
from nascli.spaces import primitives as p


def read_gemm(r: Reading, node: onnx.NodeProto) -> Held:
    """Read Gemm, a fully connected layer with a bias."""
    a = attributes_of(node)
    factors = a.get("alpha", 1.0), a.get("beta", 1.0), a.get("transA", 0)
    if factors != (1.0, 1.0, 0):
        raise ArchitectureError(f"Gemm is supported with alpha 1, beta 1, and transA 0, got {factors}")
    view = r.view(node.input[0])
    transposed = bool(a.get("transB", 0))
    bias = node.input[2] if len(node.input) > 2 else ""
    return _fully_connected(r, view, node.input[1], bias, transposed=transposed)


def read_matmul(r: Reading, node: onnx.NodeProto) -> Held:
    """Read MatMul, a fully connected layer or a product of attention."""
    if r.is_constant(node.input[1]):
        return _fully_connected(r, r.view(node.input[0]), node.input[1], "", transposed=False)
    if r.is_constant(node.input[0]):
        raise ArchitectureError(f"node {name_of(node)}: a constant times a value has no primitive")
    first, second = (r.of(name) for name in node.input)
    if isinstance(first, Scores):
        return _attention(r, first, r.view(node.input[1]), columns=False)
    if isinstance(second, Scores):
        return _attention(r, second, r.view(node.input[0]), columns=True)
    return _scores(r, node)


def _fully_connected(r: Reading, view: View, weight: str, bias: str, *, transposed: bool) -> Held:
    dims = r.dims(weight)
    if len(dims) != 2:
        raise ArchitectureError(f"a product with a constant is supported for a matrix, got {list(dims)}")
    out, inputs = dims if transposed else dims[::-1]
    shape = r.shape(view)
    last = len(view.dims) - 1
    if not r.has_channels_at(view, last) or inputs != shape.channels:
        raise ArchitectureError(
            f"fully connected layers are supported on the channels of each position, got {view.sizes} and a "
            f"matrix of {inputs} inputs"
        )
    if bias and math.prod(r.dims(bias)) not in (1, out):
        raise ArchitectureError(f"a bias has one entry per output, got {list(r.dims(bias))} for {out}")
    primitive = p.Dense(out, bool(bias))
    weights = {}
    if r.keep_weights:
        matrix = r.array(weight)
        weights["weight"] = matrix if transposed else np.ascontiguousarray(matrix.T)
        if bias:
            weights["bias"] = np.broadcast_to(r.array(bias).reshape(-1), (out,)).copy()
    value = r.append(primitive, view.value, **weights)
    return view.with_channels(value, out, last)


def fold_bias(r: Reading, view: View, name: str, sign: float) -> View | None:
    """Fold a constant that is added behind a convolution or a fully connected layer into it.

    Args:
        r: State of the reader.
        view: The value that the constant is added to.
        name: The constant.
        sign: -1 where it is subtracted.

    Returns:
        The view with the constant added; None if it cannot be folded.
    """
    before = r.primitive(view.value)
    dims = r.dims(name)
    if not view.sole or not isinstance(before, p.Conv | p.ConvTranspose | p.Dense):
        return None
    if math.prod(dims) not in (1, before.out):
        return None
    if math.prod(dims) > 1 and not is_per_channel(r, name, view):
        return None
    r.replace(view.value, with_folded_bias(before))
    if r.keep_weights:
        weights = r.weights[view.value]
        amount = sign * np.broadcast_to(r.array(name).reshape(-1), (before.out,))
        weights["bias"] = weights.get("bias", np.zeros(before.out, np.float32)) + amount
    return view


def _heads(r: Reading, view: View, *, columns: bool) -> int | None:
    """Return into how many heads a view has its channels taken apart; None if it is not arranged for attention.

    Args:
        r: State of the reader.
        view: The view: batch, heads, positions, channels of a head; or with `columns`, channels before positions.
        columns: Whether channels come before positions.
    """
    shape = r.shape(view)
    lead = [atom for dim in view.dims[:-2] for atom in dim]
    heads = math.prod(atom.size for atom in lead if atom.axis == CHANNELS)
    if len(view.dims) < 3 or shape.channels % heads:
        return None
    each = shape.channels // heads
    own: Dimension = (Atom(CHANNELS, 1, each),) if each > 1 else ()
    wanted = [own, positions(shape)] if columns else [positions(shape), own]
    outer: Dimension = (Atom(CHANNELS, each, heads),) if heads > 1 else ()
    return heads if lead == [*r.batch_dim, *outer] and list(view.dims[-2:]) == wanted else None


def _unscaled(r: Reading, view: View) -> tuple[View, float]:
    """Return a view before it was multiplied by a constant, and the constant."""
    made = r.primitive(view.value)
    if isinstance(made, p.Gain):
        return view.of(r.builder.nodes[view.value - 1].inputs[0]), made.factor
    return view, 1.0


def _scores(r: Reading, node: onnx.NodeProto) -> Held:
    queries, first_factor = _unscaled(r, r.view(node.input[0]))
    keys, second_factor = _unscaled(r, r.view(node.input[1]))
    heads = _heads(r, queries, columns=False)
    if heads is None or heads != _heads(r, keys, columns=True):
        raise ArchitectureError(
            f"node {name_of(node)}: a product of two values is supported between queries and keys of attention, got "
            f"{queries.sizes} and {keys.sizes}"
        )
    return Scores(queries, keys.value, heads, first_factor * second_factor)


def read_softmax(r: Reading, node: onnx.NodeProto) -> Held:
    """Read the softmax of attention."""
    held = r.of(node.input[0])
    if not isinstance(held, Scores):
        raise ArchitectureError(
            f"node {name_of(node)} is a Softmax, which nascli has no primitive for but within attention"
        )
    rank = len(held.queries.dims)
    axis = int(attributes_of(node).get("axis", -1)) % rank
    if held.transposed or held.softmax or axis != rank - 1:
        raise ArchitectureError(
            f"node {name_of(node)}: the softmax of attention is taken once, over the keys"
        )
    return replace(held, softmax=True)


def _attention(r: Reading, scores: Scores, values: View, *, columns: bool) -> Held:
    """Read the product of scores and values; with `columns`, of values and transposed scores."""
    if not scores.softmax or scores.transposed != columns:
        raise ArchitectureError("a product with scores of attention is supported behind their softmax")
    if _heads(r, values, columns=columns) != scores.heads:
        raise ArchitectureError(f"values of attention must have {scores.heads} heads, got {values.sizes}")
    queries = scores.queries.value
    channels = r.builder.shape_of(queries).channels // scores.heads
    factor = scores.factor * math.sqrt(channels)
    if not math.isclose(factor, 1.0, rel_tol=1e-3):
        queries = r.append(p.Gain(factor), queries)
    value = r.append(p.Attention(scores.heads), queries, scores.keys, values.value)
    shape = r.builder.shape_of(value)
    each = shape.channels // scores.heads
    own: Dimension = (Atom(CHANNELS, 1, each),) if each > 1 else ()
    inner = (own, positions(shape)) if columns else (positions(shape), own)
    return View(value, (*values.dims[:-2], *inner))
