"""A latency model of a space of stages, from whole networks of it that are measured."""

from __future__ import annotations

import numpy as np

from nascli.costmodel.staged_costs import StagedCost, fit_staged_cost
from nascli.execution import Execution
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.staged import StagedSpace

NETWORKS = 24


def staged_latency(
    space: StagedSpace, spec: TargetSpec, execution: Execution, *, seed: int, progress: Progress
) -> StagedCost:
    """Measure networks that cover the space, and fit a cost to them. What the store has is not measured again."""
    rng = generator(seed, RandomStream.STAGED_CALIBRATION)
    columns = 2 * len(space.strides)
    limits = np.tile([space.depths, space.widths], len(space.strides))
    # A Latin hypercube: each depth and width range is seen evenly; and both ends.
    strata = np.stack([rng.permutation(NETWORKS - 2) for _ in range(columns)], axis=1)
    inside = ((strata + rng.random(strata.shape)) / (NETWORKS - 2) * limits).astype(np.int16)
    codes = np.concatenate([np.zeros((1, columns), np.int16), inside, limits[None].astype(np.int16) - 1])
    networks = [space.network(code, f"{space.name} {code.tolist()}") for code in codes]
    figures = measure_networks(
        networks, spec, execution, protocol=MeasurementProtocol(), seed=seed, progress=progress
    )
    cost, error = fit_staged_cost(space, codes, [figure.seconds for figure in figures])
    progress.message(
        f"latency of {space.name} is fitted on {len(codes)} whole networks; off by {error:.1%} on those left out"
    )
    return cost
