"""Whole networks measured end to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nascli.execution import Execution
from nascli.lut import Measurement, Store, program_key
from nascli.pipeline.measure.subjects import read_network
from nascli.profiles.profiling import network_operator, profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.spaces.network import Network
from nascli.spaces.space import Space


def measure_networks(
    networks: Sequence[Network],
    spec: TargetSpec,
    execution: Execution,
    *,
    protocol: MeasurementProtocol,
    seed: int,
    progress: Progress,
    members: tuple[Space, Sequence[Sequence[int]]] | None = None,
) -> list[Measurement]:
    """End-to-end latency of whole networks, side by side; kept in the store like any operator.

    Args:
        networks: what to measure.
        spec: On which device and how.
        execution: Where measurements are kept.
        protocol: how closely.
        seed: order of the measurements.
        progress: what is told how far it is.
        members: the space that the networks come from and their codes; noted, so that the space's cost model
            can learn from them later.
    """
    operators = [network_operator(network) for network in networks]
    with Store(execution.store) as store:
        table = profile_operators(
            operators,
            store,
            spec.resolve(execution),
            protocol=protocol,
            rng=np.random.default_rng(seed),
            progress=progress,
            what="networks",
        )
        if members is not None:
            space, codes = members
            keys = [program_key(operator.program) for operator in operators]
            store.add_networks(space.digest, dict(zip(keys, codes, strict=True)))
    figures = []
    for operator in operators:
        figure = table.lookup(operator.program)
        assert figure is not None
        figures.append(figure)
    return figures


def measure_file(path: Path, spec: TargetSpec, execution: Execution, progress: Progress) -> Measurement:
    """End-to-end latency of an architecture's file or an ONNX model.

    An architecture's figure is noted for the cost model of its space.
    """
    network, architecture = read_network(path)
    members = None if architecture is None else (architecture.space, [architecture.choices])
    (figure,) = measure_networks(
        [network], spec, execution, protocol=MeasurementProtocol(), seed=0, progress=progress, members=members
    )
    return figure
