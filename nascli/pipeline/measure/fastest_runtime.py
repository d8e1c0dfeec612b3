"""The fastest runtime of a device for a space: some of its networks are measured on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nascli.errors import ModelRefusedError, Remedy, RuntimeUnavailableError
from nascli.execution import Execution
from nascli.profiles.devices.device import find_device
from nascli.profiles.devices.lock import DeviceLock
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.profiles.profiling import held_clock
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import Session
from nascli.profiles.runtimes.registry import all_runtimes
from nascli.profiles.side_by_side import time_side_by_side
from nascli.profiles.target import FASTEST, Target, TargetSpec
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace

NETWORKS = 5
# Runtimes differ by more than this, or it does not matter which is chosen.
_PROTOCOL = MeasurementProtocol(target=0.02, max_rounds=12)


def settle_runtime(
    subject: Space | StagedSpace | Network,
    spec: TargetSpec,
    execution: Execution,
    *,
    seed: int,
    progress: Progress,
) -> TargetSpec:
    """Return a target with the name of a runtime: where it says 'fastest', the one that measuring finds.

    Args:
        subject: What will be measured there: of a space, random networks are timed; a network is timed itself.
        spec: On which device and how.
        execution: Names the package that provides CUDA memory and events.
        seed: The seed of the networks, and of the order in which they are timed.
        progress: Is told which runtime it is, and by how much.

    Raises:
        RuntimeUnavailableError: No runtime here has the precision and runs the networks.
        DeviceError: The device is not here, or failed.
    """
    if spec.runtime != FASTEST:
        return spec
    targets, left_out = _targets(spec, execution)
    networks = _networks(subject, generator(seed, RandomStream.FASTEST_RUNTIME))
    what = f"{len(networks)} random networks of {subject.name}" if len(networks) > 1 else subject.name
    latencies: list[dict[str, float]] = []
    if len(targets) > 1:
        progress.start(f"timing {what} on {', '.join(targets)}", len(networks) * len(targets))
        with DeviceLock(find_device(spec.device), progress):
            for number, network in enumerate(networks):
                rng = generator(seed, RandomStream.FASTEST_RUNTIME, number)
                model_seconds, refused = _time(network, targets, rng, progress)
                for name, reason in refused.items():
                    del targets[name]
                    left_out[name] = reason
                latencies.append(model_seconds)
    if not targets:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise RuntimeUnavailableError(
            f"no runtime works here in {spec.precision} on {spec.device}. {reasons}",
            "See what is missing, or choose another precision.",
            Remedy(job="run_checks"),
            Remedy(arguments={"precision": None}),
        )
    return replace(spec, runtime=_choose(list(targets), latencies, what, spec.precision, progress))


def _choose(
    names: Sequence[str], latencies: Sequence[dict[str, float]], what: str, precision: str, progress: Progress
) -> str:
    """Return the runtime with the lowest geometric mean, and say by how much it leads."""
    if len(names) == 1:
        progress.message(f"runtime: {names[0]}, the only one that works here in {precision}")
        return names[0]
    means = {name: float(np.exp(np.mean([np.log(row[name]) for row in latencies]))) for name in names}
    first, second = sorted(names, key=means.__getitem__)[:2]
    progress.message(
        f"runtime: {first}, {means[second] / means[first]:.2f} times as fast as {second} in {precision} "
        f"({what}, timed side by side)"
    )
    return first


def _targets(spec: TargetSpec, execution: Execution) -> tuple[dict[str, Target], dict[str, str]]:
    """Return the runtimes that have the precision here, by name; and why others do not serve."""
    targets, left_out = {}, {}
    device = find_device(spec.device)
    for runtime in all_runtimes().values():
        reason = runtime.refuses(device) or runtime.missing()
        if reason is None and spec.precision not in runtime.precisions:
            reason = f"it measures {', '.join(runtime.precisions)}"
        if reason is None:
            targets[runtime.name] = replace(spec, runtime=runtime.name).resolve(execution)
        else:
            left_out[runtime.name] = reason
    return targets, left_out


def _networks(subject: Space | StagedSpace | Network, rng: np.random.Generator) -> list[Network]:
    if isinstance(subject, Network):
        return [subject]
    return [subject.network(row) for row in subject.sample(NETWORKS, rng)]


def _time(
    network: Network, targets: dict[str, Target], rng: np.random.Generator, progress: Progress
) -> tuple[dict[str, float], dict[str, str]]:
    """Return the seconds of a network on each runtime, and why others refuse it."""
    sessions: dict[str, Session] = {}
    refused: dict[str, str] = {}
    try:
        for name, target in targets.items():
            form = target.runtime.precisions[target.options.precision]
            try:
                sessions[name] = target.runtime.load(
                    onnx_bytes(network.program, target.batch, precision=form), target.options
                )
            except ModelRefusedError as error:
                refused[name] = error.message
        if not sessions:
            return {}, refused
        first = targets[next(iter(sessions))]
        with held_clock(first, progress):
            figures, failed = time_side_by_side(sessions, first, _PROTOCOL, rng=rng, progress=progress)
    finally:
        for session in sessions.values():
            session.close()
    return {name: figure.seconds for name, figure in figures.items()}, refused | failed
