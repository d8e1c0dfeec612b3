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
from nascli.spaces.architecture import Architecture
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
        networks: The networks.
        spec: On which device and how.
        execution: Where measurements are kept.
        protocol: How closely a network is measured.
        seed: The seed of the order in which networks are measured.
        progress: Is told how far it is.
        members: The space that the networks come from and their architectures, which the store notes, so that
            the space's cost model can learn from them later.

    Returns:
        The networks' latencies, in their order.

    Raises:
        DeviceError: The device is not here, or failed; what was measured is kept.
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


def measure_network(
    source: Path | Architecture | Network, spec: TargetSpec, execution: Execution, *, progress: Progress
) -> Measurement:
    """Measure the end-to-end latency of a network.

    The store notes an architecture's latency for the cost model of its space.

    Args:
        source: An architecture's .json file, an .onnx model, or what such a file would give.
        spec: On which device and how.
        execution: Where measurements are kept.
        progress: Is told how far it is.

    Raises:
        ArchitectureError: The file cannot be read.
        DeviceError: The device is not here, or failed; what was measured is kept.
    """
    network, architecture = read_network(source)
    members = None if architecture is None else (architecture.space, [architecture.choices])
    (figure,) = measure_networks(
        [network], spec, execution, protocol=MeasurementProtocol(), seed=0, progress=progress, members=members
    )
    return figure
