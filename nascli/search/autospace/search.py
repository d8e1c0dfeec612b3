"""AutoSpace (Zhou et al. 2021): cells that evolve while they train, one population per layer.

A cell is a row of eight integers: six edges of its graph (`nascli.spaces.operators.dag_cell`), the node whose width
is expanded, and how features are joined. Everything here acts on whole populations `(layers, cells, 8)` at once; the
fitness of a cell is a number that the supernet's path probabilities learn by gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nascli.search.autospace.settings import GENES, AutoSpaceSettings
from nascli.spaces.operators.dag_cell import EDGE_OPERATORS, EDGES, REFERENCE
from nascli.spaces.primitives import Shape

Cells = npt.NDArray[np.int8]
Array = npt.NDArray[np.float64]
_CHOICES = np.array([len(EDGE_OPERATORS)] * len(EDGES) + [3, 2])
_AREA = np.array([0, 0, 9, 25, 49, 0])
# Draws of a mutation before a cell that finds no valid one stays as it is.
_DRAWS = 30


def is_connected(cells: Cells) -> npt.NDArray[np.bool_]:
    """Which cells have a path from their input to their output."""
    e10, e20, e21, e30, e31, e32 = (cells[..., i] > 0 for i in range(6))
    first = e10
    second = e20 | (e21 & first)
    return np.asarray(e30 | (e31 & first) | (e32 & second))


def distance(cells: Cells) -> npt.NDArray[np.int64]:
    """In how many edges cells differ from the reference graph, the inverted residual."""
    return np.asarray((cells[..., :6] != np.array(REFERENCE, dtype=np.int8)).sum(axis=-1))


def cell_macs(cells: Cells, shape: Shape, out: int, stride: int, expand: int = 6) -> npt.NDArray[np.int64]:
    """MACs of cells at one place, as counted on the operator itself; what nothing leads to costs nothing."""
    codes = cells[..., :6].astype(np.int64)
    expanded = cells[..., 6].astype(np.int64)
    concat = cells[..., 7] == 1
    c = shape.channels
    pixels = shape.height * shape.width
    small = -(-shape.height // stride) * -(-shape.width // stride)
    widths = [np.full(codes.shape[:-1], c)]
    for node in (1, 2):
        widths.append(np.where((expanded > 0) & (expanded <= node), c * expand, c))
    widths.append(np.full(codes.shape[:-1], out))
    alive = [np.ones(codes.shape[:-1], dtype=bool)]
    total = np.zeros(codes.shape[:-1], dtype=np.int64)
    for node in (1, 2, 3):
        arriving = np.zeros(codes.shape[:-1], dtype=np.int64)
        for position, (to, source) in enumerate(EDGES):
            if to != node:
                continue
            code = codes[..., position]
            used = (code > 0) & alive[source]
            arriving += used
            crossing = source < 2 <= node
            after = small if node >= 2 else pixels
            before = small if source >= 2 else pixels
            wide, narrow = widths[node], widths[source]
            # A 1x1 computes at its output; a change of width before a depthwise, at its input.
            pointwise = narrow * wide * (after if crossing or before == after else before)
            change = np.where(narrow != wide, narrow * wide * before, 0)
            depthwise = change + wide * _AREA[code] * after
            total += np.where(used, np.where(code == 1, pointwise, depthwise), 0)
        joined = small if node >= 2 else pixels
        total += np.where(concat & (arriving > 1), arriving * widths[node] ** 2 * joined, 0)
        alive.append(arriving > 0)
    return total


def canonical_cells(cells: Cells) -> Cells:
    """The same cells without genes that change nothing: edges that nothing reaches or that lead nowhere, a join of
    one arrival, an expansion of a node that is not there. They compute what they computed, for no more."""
    found = cells.copy()
    e10, e20, e21, _, e31, e32 = (found[..., i] for i in range(6))
    e21[e10 == 0] = 0
    second = (e20 > 0) | (e21 > 0)
    e31[e10 == 0] = 0
    e32[~second] = 0
    unused = e32 == 0
    e20[unused], e21[unused] = 0, 0
    e10[(e21 == 0) & (e31 == 0)] = 0
    first, second = e10 > 0, (e20 > 0) | (e21 > 0)
    joins = ((e20 > 0) & (e21 > 0)) | ((found[..., 3:6] > 0).sum(axis=-1) > 1)
    found[..., 7] *= joins
    expanded = found[..., 6]
    expanded[(expanded == 1) & ~first & second] = 2
    expanded[(expanded == 1) & ~first] = 0
    expanded[(expanded == 2) & ~second] = 0
    return found


def first_population(
    layers: int,
    settings: AutoSpaceSettings,
    rng: np.random.Generator,
    limits: Sequence[tuple[Shape, int, int, float]] | None = None,
) -> Cells:
    """`(layers, population, 8)` cells: the reference and mutants of it within the distance and the MAdds limits."""
    cells = np.empty((layers, settings.population, GENES), dtype=np.int8)
    cells[..., :6], cells[..., 6], cells[..., 7] = REFERENCE, 1, 0
    for start in range(GENES - settings.window + 1):
        moved = mutate(cells, start, settings, rng, near=True, limits=limits)
        # The first cell of each layer stays the reference.
        cells[:, 1:] = moved[:, 1:]
    return cells


def mutate(
    cells: Cells,
    start: int,
    settings: AutoSpaceSettings,
    rng: np.random.Generator,
    *,
    near: bool,
    limits: Sequence[tuple[Shape, int, int, float]] | None = None,
) -> Cells:
    """Cells with the genes of a window redrawn, each with probability one half, until they are valid and other cells.

    Genes that change nothing stay in the population, since a later mutation may wake them.

    Args:
        cells: `(layers, n, 8)`.
        start: the window's first gene.
        settings: window and distance.
        rng: the source of randomness.
        near: whether cells must stay near the reference graph.
        limits: per layer its shape, width, stride and most MAdds; None without a limit.

    Returns:
        as many cells; one that finds no valid mutation in 30 draws stays as it is.
    """
    result = cells.copy()
    waiting = np.ones(cells.shape[:2], dtype=bool)
    inside = np.zeros(GENES, dtype=bool)
    inside[start : start + settings.window] = True
    for _ in range(_DRAWS):
        layers, rows = np.nonzero(waiting)
        if not len(layers):
            break
        drawn = rng.integers(0, _CHOICES, (len(layers), GENES)).astype(np.int8)
        changes = inside & (rng.random((len(layers), GENES)) < 0.5)
        tried = np.where(changes, drawn, cells[layers, rows])
        plain = canonical_cells(tried)
        valid = is_connected(tried) & np.any(plain != canonical_cells(cells[layers, rows]), axis=1)
        if near:
            valid &= distance(plain) <= settings.distance
        if limits is not None:
            for layer in np.unique(layers):
                here = layers == layer
                shape, out, stride, most = limits[int(layer)]
                valid[here] &= cell_macs(plain[here], shape, out, stride) <= most
        result[layers[valid], rows[valid]] = tried[valid]
        waiting[layers[valid], rows[valid]] = False
    return result


def tournament(fitness: Array, winners: int, team: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`(layers, winners)` distinct members: each the fittest of a random team of those not yet chosen."""
    layers, size = fitness.shape
    chosen = np.empty((layers, winners), dtype=np.int64)
    left = fitness.copy()
    for place in range(winners):
        keys = rng.random((layers, size))
        keys[~np.isfinite(left)] = np.inf
        members = np.argpartition(keys, min(team, size) - 1, axis=1)[:, : min(team, size)]
        best = members[
            np.arange(layers)[:, None], np.argsort(-np.take_along_axis(left, members, 1), axis=1)[:, :1]
        ]
        chosen[:, place] = best[:, 0]
        left[np.arange(layers), best[:, 0]] = -np.inf
    return chosen


def members_to_replace(
    fitness: Array,
    seen: Array,
    held: npt.NDArray[np.int64],
    wanted: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """`(layers, wanted)` members that make room for children: the least fit that were judged, ties at random; those
    never judged only where nothing else is left, and `held` ones never.

    Args:
        fitness: `(layers, population)`.
        seen: `(layers, population)` how often each was judged.
        held: `(layers, n)` members that stay.
        wanted: how many per layer.
        rng: breaks ties.
    """
    order = np.lexsort((rng.random(fitness.shape), fitness, seen == 0), axis=1)
    found = np.empty((len(fitness), wanted), dtype=np.int64)
    for layer, row in enumerate(order):
        found[layer] = row[~np.isin(row, held[layer])][:wanted]
    return found


def compensated_gradient(gradient: Array, now: Array, then: Array, strength: float) -> Array:
    """g + strength * g^2 * (alpha_now - alpha_then): a gradient that was taken at older fitness."""
    return np.asarray(gradient + strength * gradient**2 * (now - then))


def format_cells(layers: Sequence[Cells]) -> str:
    """Cells per layer as text for a space's parameter: digits of a cell, '.' between cells, '-' between layers."""
    return "-".join(".".join("".join(map(str, cell)) for cell in cells.tolist()) for cells in layers)
