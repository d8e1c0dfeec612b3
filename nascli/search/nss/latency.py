"""A latency model of a staged space, fitted to whole networks of it that are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nascli.costmodel.staged_costs import StagedCost, fit_staged_cost
from nascli.lut import Measurement
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.network import Network
from nascli.spaces.space import Population
from nascli.spaces.staged import StagedSpace

# The number of networks that are measured.
NETWORKS = 24


def measured_latency(
    space: StagedSpace,
    measure: Callable[[Sequence[Network]], Sequence[Measurement]],
    *,
    seed: int,
    progress: Progress,
) -> StagedCost:
    """Measure networks that cover a staged space, and fit a cost to their latencies.

    Args:
        space: The staged space.
        measure: Measures networks side by side, and returns their latencies in the same order.
        seed: The seed of the choice of networks.
        progress: Reports the error of the cost on networks left out of the fit.
    """
    population = covering_population(space, NETWORKS, generator(seed, RandomStream.STAGED_CALIBRATION))
    figures = measure([space.network(row, f"{space.name} {row.tolist()}") for row in population])
    cost, error = fit_staged_cost(space, population, [figure.seconds for figure in figures])
    progress.message(
        f"latency of {space.name} is fitted on {len(population)} whole networks; off by {error:.1%} on those left out"
    )
    return cost


def covering_population(space: StagedSpace, n: int, rng: np.random.Generator) -> Population:
    """Return networks that cover a staged space: the smallest, the largest, and a Latin hypercube between them.

    Args:
        space: The staged space.
        n: The number of networks, at least 3.
        rng: The source of randomness.

    Returns:
        `(n, 2 * stages)` depth and width of each stage, both counted from 0.
    """
    columns = 2 * len(space.strides)
    limits = np.tile([space.depths, space.widths], len(space.strides))
    strata = np.stack([rng.permutation(n - 2) for _ in range(columns)], axis=1)
    between = ((strata + rng.random(strata.shape)) / (n - 2) * limits).astype(np.int16)
    smallest, largest = np.zeros((1, columns), np.int16), limits[None].astype(np.int16) - 1
    return np.concatenate([smallest, between, largest])
