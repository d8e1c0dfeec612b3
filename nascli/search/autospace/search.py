"""AutoSpace (Zhou et al. 2021): cells that evolve while they train, one population per layer.

A cell has eight genes: the operators of the six edges of its graph (`nascli.spaces.operators.dag_cell`), the node from
which on its width is expanded, and how features are joined. Its fitness is a number that is learned by gradient, as the
logit of its probability in the supernet. The functions here act on whole populations `(layers, cells, 8)` at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nascli.search.autospace.settings import GENES, AutoSpaceSettings
from nascli.spaces.operators.dag_cell import EDGE_OPERATORS, EDGES, REFERENCE
from nascli.spaces.primitives import Shape

# `(..., 8)` genes of cells.
Cells = npt.NDArray[np.int8]
# The genes of one cell.
Genes = tuple[int, ...]
Array = npt.NDArray[np.float64]
# The number of values of each gene, and the kernel area of each edge operator.
_GENE_VALUES = np.array([len(EDGE_OPERATORS)] * len(EDGES) + [3, 2])
_KERNEL_AREAS = np.array([0, 0, 9, 25, 49, 0])
# Draws of a mutation, before a cell that finds no valid one stays as it is.
_DRAWS = 30


class BlockShape(NamedTuple):
    """The shape that all cells of a layer have.

    Attributes:
        input: The input shape.
        out: The number of output channels.
        stride: The stride.
    """

    input: Shape
    out: int
    stride: int


class CellLimit(NamedTuple):
    """The shape of a layer's cells, and the largest number of MACs that one of them may have."""

    input: Shape
    out: int
    stride: int
    max_macs: float


def is_connected(cells: Cells) -> npt.NDArray[np.bool_]:
    """Return which cells have a path from their input to their output, `(...)`."""
    e10, e20, e21, e30, e31, e32 = (cells[..., i] > 0 for i in range(6))
    first = e10
    second = e20 | (e21 & first)
    return np.asarray(e30 | (e31 & first) | (e32 & second))


def distance(cells: Cells) -> npt.NDArray[np.int64]:
    """Return in how many edges cells differ from the reference graph, the inverted residual, `(...)`."""
    return np.asarray((cells[..., :6] != np.array(REFERENCE, dtype=np.int8)).sum(axis=-1))


def cell_macs(cells: Cells, shape: Shape, out: int, stride: int, expand: int = 6) -> npt.NDArray[np.int64]:
    """Count the MACs of cells, as `nascli.spaces.counts` counts them on the operator itself.

    Args:
        cells: `(..., 8)` genes.
        shape: The input shape.
        out: The number of output channels.
        stride: The stride.
        expand: The expansion ratio.

    Returns:
        `(...)` MACs; edges that nothing reaches have none.
    """
    edges = cells[..., :6].astype(np.int64)
    expanded_from = cells[..., 6].astype(np.int64)
    concatenates = cells[..., 7] == 1
    c = shape.channels
    # Pixels of the nodes 0 and 1, and of the nodes 2 and 3.
    pixels_before = shape.height * shape.width
    pixels_after = -(-shape.height // stride) * -(-shape.width // stride)
    widths = [np.full(edges.shape[:-1], c)]
    for node in (1, 2):
        is_expanded = (expanded_from > 0) & (expanded_from <= node)
        widths.append(np.where(is_expanded, c * expand, c))
    widths.append(np.full(edges.shape[:-1], out))
    reached = [np.ones(edges.shape[:-1], dtype=bool)]
    total = np.zeros(edges.shape[:-1], dtype=np.int64)
    for node in (1, 2, 3):
        arriving = np.zeros(edges.shape[:-1], dtype=np.int64)
        target_pixels = pixels_after if node >= 2 else pixels_before
        for position, (to, source) in enumerate(EDGES):
            if to != node:
                continue
            operator = edges[..., position]
            used = (operator > 0) & reached[source]
            arriving += used
            wide, narrow = widths[node], widths[source]
            source_pixels = pixels_after if source >= 2 else pixels_before
            # A 1x1 computes at its output; a change of the width before a depthwise convolution, at its input.
            pointwise = narrow * wide * target_pixels
            change = np.where(narrow != wide, narrow * wide * source_pixels, 0)
            depthwise = change + wide * _KERNEL_AREAS[operator] * target_pixels
            total += np.where(used, np.where(operator == 1, pointwise, depthwise), 0)
        total += np.where(concatenates & (arriving > 1), arriving * widths[node] ** 2 * target_pixels, 0)
        reached.append(arriving > 0)
    return total


def canonical_cells(cells: Cells) -> Cells:
    """Return the same cells without genes that change nothing.

    These are edges that nothing reaches or that lead nowhere, a join of a single edge, and the expansion of a node that
    is not there. The cells compute the same function with no more MACs.
    """
    canonical = cells.copy()
    e10, e20, e21, _, e31, e32 = (canonical[..., i] for i in range(6))
    e21[e10 == 0] = 0
    second = (e20 > 0) | (e21 > 0)
    e31[e10 == 0] = 0
    e32[~second] = 0
    unused = e32 == 0
    e20[unused], e21[unused] = 0, 0
    e10[(e21 == 0) & (e31 == 0)] = 0
    first, second = e10 > 0, (e20 > 0) | (e21 > 0)
    joins = ((e20 > 0) & (e21 > 0)) | ((canonical[..., 3:6] > 0).sum(axis=-1) > 1)
    canonical[..., 7] *= joins
    expanded = canonical[..., 6]
    expanded[(expanded == 1) & ~first & second] = 2
    expanded[(expanded == 1) & ~first] = 0
    expanded[(expanded == 2) & ~second] = 0
    return canonical


def first_population(
    layers: int,
    settings: AutoSpaceSettings,
    rng: np.random.Generator,
    limits: Sequence[CellLimit] | None = None,
) -> Cells:
    """Return the first cells: the reference graph, and mutants of it.

    Args:
        layers: The number of layers.
        settings: The size of the populations, and the distance within which cells stay to the reference graph.
        rng: The source of randomness.
        limits: Per layer its shape and largest MACs; None sets no limit.

    Returns:
        `(layers, population, 8)` genes; the first cell of each layer is the reference graph.
    """
    cells = np.empty((layers, settings.population, GENES), dtype=np.int8)
    cells[..., :6], cells[..., 6], cells[..., 7] = REFERENCE, 1, 0
    for start in range(GENES - settings.window + 1):
        mutants = mutate(cells, start, settings, rng, near=True, limits=limits)
        cells[:, 1:] = mutants[:, 1:]
    return cells


def mutate(
    cells: Cells,
    start: int,
    settings: AutoSpaceSettings,
    rng: np.random.Generator,
    *,
    near: bool,
    limits: Sequence[CellLimit] | None = None,
) -> Cells:
    """Mutate cells: draw the genes of a window anew, each with probability one half.

    A mutant must be connected, compute something else than its parent, and keep the limits; otherwise it is drawn
    again. Genes that change nothing stay in the population, since a later mutation may give them an effect.

    Args:
        cells: `(layers, n, 8)` genes.
        start: The first gene of the window.
        settings: The length of the window, and the largest distance to the reference graph.
        rng: The source of randomness.
        near: Whether the distance is limited.
        limits: Per layer its shape and largest MACs; None sets no limit.

    Returns:
        `(layers, n, 8)` genes; a cell that finds no valid mutant in 30 draws stays as it is.
    """
    result = cells.copy()
    waiting = np.ones(cells.shape[:2], dtype=bool)
    inside = np.zeros(GENES, dtype=bool)
    inside[start : start + settings.window] = True
    for _ in range(_DRAWS):
        layers, rows = np.nonzero(waiting)
        if not len(layers):
            break
        parents = cells[layers, rows]
        drawn = rng.integers(0, _GENE_VALUES, (len(layers), GENES)).astype(np.int8)
        changes = inside & (rng.random((len(layers), GENES)) < 0.5)
        mutants = np.where(changes, drawn, parents)
        canonical = canonical_cells(mutants)
        valid = is_connected(mutants) & np.any(canonical != canonical_cells(parents), axis=1)
        if near:
            valid &= distance(canonical) <= settings.distance
        if limits is not None:
            for layer in np.unique(layers):
                of_layer = layers == layer
                shape, out, stride, max_macs = limits[int(layer)]
                valid[of_layer] &= cell_macs(canonical[of_layer], shape, out, stride) <= max_macs
        result[layers[valid], rows[valid]] = mutants[valid]
        waiting[layers[valid], rows[valid]] = False
    return result


def tournament(fitness: Array, winners: int, team: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Choose distinct members, each the fittest of a random team of those not yet chosen.

    Args:
        fitness: `(layers, population)` fitness.
        winners: The number of members to choose per layer.
        team: The size of a team.
        rng: The source of randomness.

    Returns:
        `(layers, winners)` numbers of members.
    """
    layers, size = fitness.shape
    team = min(team, size)
    chosen = np.empty((layers, winners), dtype=np.int64)
    remaining = fitness.copy()
    for round_ in range(winners):
        keys = rng.random((layers, size))
        keys[~np.isfinite(remaining)] = np.inf
        members = np.argpartition(keys, team - 1, axis=1)[:, :team]
        fittest = np.argsort(-np.take_along_axis(remaining, members, 1), axis=1)[:, :1]
        winner = members[np.arange(layers)[:, None], fittest][:, 0]
        chosen[:, round_] = winner
        remaining[np.arange(layers), winner] = -np.inf
    return chosen


def members_to_replace(
    fitness: Array,
    draws: Array,
    protected: npt.NDArray[np.int64],
    count: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Choose the members that children replace: the least fit of those that were drawn.

    Members that were never drawn are replaced only where there is no other, since nothing is known of them.

    Args:
        fitness: `(layers, population)` fitness.
        draws: `(layers, population)` how often each member was drawn.
        protected: `(layers, n)` members that are never replaced.
        count: The number of members to replace per layer.
        rng: Breaks ties.

    Returns:
        `(layers, count)` numbers of members.
    """
    order = np.lexsort((rng.random(fitness.shape), fitness, draws == 0), axis=1)
    replaced = np.empty((len(fitness), count), dtype=np.int64)
    for layer, row in enumerate(order):
        replaced[layer] = row[~np.isin(row, protected[layer])][:count]
    return replaced


def compensated_gradient(gradient: Array, now: Array, before: Array, strength: float) -> Array:
    """Return g + strength * g^2 * (alpha_now - alpha_before), as delay-compensated SGD does (Zheng et al. 2017).

    Args:
        gradient: The gradient, taken at the fitness before.
        now: The fitness now, of the same shape.
        before: The fitness before.
        strength: The weight of the correction.
    """
    return np.asarray(gradient + strength * gradient**2 * (now - before))


def format_cells(layers: Sequence[Cells]) -> str:
    """Return cells as text for the parameter of a space.

    The genes of a cell are digits; '.' separates the cells of a layer, and '-' separates layers.

    Args:
        layers: Per layer `(n, 8)` genes.
    """
    return "-".join(".".join("".join(map(str, cell)) for cell in cells.tolist()) for cells in layers)
