"""A latency model of a space of stages, fitted on whole networks of it that are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nascli.costmodel.staged_costs import StagedCost, fit_staged_cost
from nascli.lut import Measurement
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.network import Network
from nascli.spaces.staged import StagedSpace

NETWORKS = 24


def measured_latency(
    space: StagedSpace,
    measure: Callable[[Sequence[Network]], Sequence[Measurement]],
    *,
    seed: int,
    progress: Progress,
) -> StagedCost:
    """Measure networks that cover the space, and fit a cost to them.

    Args:
        space: The space of stages.
        measure: Measures networks side by side; what was measured before is not measured again.
        seed: Of the networks that are chosen.
        progress: Is told how well the cost fits.
    """
    rng = generator(seed, RandomStream.STAGED_CALIBRATION)
    columns = 2 * len(space.strides)
    limits = np.tile([space.depths, space.widths], len(space.strides))
    # A Latin hypercube: each depth and width range is seen evenly; and both ends.
    strata = np.stack([rng.permutation(NETWORKS - 2) for _ in range(columns)], axis=1)
    inside = ((strata + rng.random(strata.shape)) / (NETWORKS - 2) * limits).astype(np.int16)
    population = np.concatenate([np.zeros((1, columns), np.int16), inside, limits[None].astype(np.int16) - 1])
    figures = measure([space.network(row, f"{space.name} {row.tolist()}") for row in population])
    cost, error = fit_staged_cost(space, population, [figure.seconds for figure in figures])
    progress.message(
        f"latency of {space.name} is fitted on {len(population)} whole networks; off by {error:.1%} on those left out"
    )
    return cost
