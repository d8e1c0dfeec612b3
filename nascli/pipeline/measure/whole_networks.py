"""Whole networks measured end to end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nascli.execution import Execution
from nascli.lut import Measurement, Store, program_key
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.subjects import read_network
from nascli.pipeline.measure.whole_models import MeasuredModel, measure_models
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
    feed: ModelFeed = ModelFeed(),
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
        feed: The values of their inputs.

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
            feed.on(spec.resolve(execution)),
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
    source: Path | Architecture | Network,
    spec: TargetSpec,
    execution: Execution,
    *,
    progress: Progress,
    feed: ModelFeed = ModelFeed(),
    own_batch: bool = False,
) -> Measurement:
    """Measure the end-to-end latency of a network.

    The store notes an architecture's latency for the cost model of its space. An ONNX model is measured as it is.

    Args:
        source: An architecture's .json file, an .onnx model, or what such a file would give.
        spec: On which device and how.
        execution: Where measurements are kept.
        progress: Is told how far it is.
        feed: Shapes and values of its inputs.
        own_batch: Whether a model that is fixed at one batch is measured at it, whatever `spec` says.

    Raises:
        ArchitectureError: The file cannot be read.
        DeviceError: The device is not here, or failed; what was measured is kept.
    """
    if isinstance(source, Path) and source.suffix == ".onnx":
        (measured,) = measure_models(
            [source],
            spec,
            execution,
            feed=feed,
            own_batch=own_batch,
            progress=progress,
            protocol=MeasurementProtocol(),
        )
        return measured.measurement
    network, architecture = read_network(source)
    members = None if architecture is None else (architecture.space, [architecture.choices])
    (figure,) = measure_networks(
        [network],
        spec,
        execution,
        protocol=MeasurementProtocol(),
        seed=0,
        progress=progress,
        members=members,
        feed=feed,
    )
    return figure


def measure_sources(
    paths: Sequence[Path],
    spec: TargetSpec,
    execution: Execution,
    *,
    feed: ModelFeed,
    own_batch: bool,
    progress: Progress,
) -> list[MeasuredModel]:
    """Measure the end-to-end latency of networks from files; ONNX models are timed side by side.

    Args:
        paths: Architectures' .json files and .onnx models.
        spec: On which device and how.
        execution: Where measurements are kept.
        feed: Shapes and values of inputs.
        own_batch: Whether models that are fixed at one batch are measured at it, whatever `spec` says.
        progress: Is told how far it is.

    Returns:
        The latencies in the order of the files.

    Raises:
        ArchitectureError: A file cannot be read.
        DeviceError: The device is not here, or failed; what was measured is kept.
    """
    models = [path for path in paths if path.suffix == ".onnx"]
    found = {}
    if models:
        measured = measure_models(
            models,
            spec,
            execution,
            feed=feed,
            own_batch=own_batch,
            progress=progress,
            protocol=MeasurementProtocol(),
        )
        found = {one.path: one for one in measured}
    for path in paths:
        if path not in found:
            figure = measure_network(path, spec, execution, progress=progress, feed=feed)
            found[path] = MeasuredModel(path, spec.batch, figure)
    return [found[path] for path in paths]
