"""Timing loaded models side by side: rounds in random order, against one anchor, without a store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TypeVar

import numpy as np

from nascli.errors import ModelRefusedError
from nascli.lut.statistics import Measurement, Sample, burst_time, estimate, reference_anchor
from nascli.profiles.measurement import Anchor, is_finished, load_anchor, no_garbage_collection
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import Session
from nascli.profiles.target import Target
from nascli.progress import Progress

# Runs that estimate how long a model takes; the first one is left out, since it allocates.
_TRIAL_RUNS = 3
K = TypeVar("K")


def time_side_by_side(
    sessions: Mapping[K, Session],
    anchor_target: Target,
    protocol: MeasurementProtocol,
    *,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[dict[K, Measurement], dict[K, str]]:
    """Time models that are loaded by any runtimes in the same rounds, until each has settled or is given up.

    Args:
        sessions: The loaded models, which stay open.
        anchor_target: Where the anchor runs: on the same device.
        protocol: How long and how often to time.
        rng: Draws the order inside each round.
        progress: Is advanced by one with each model that needs no more.

    Returns:
        The latency of each model that ran; and why the others did not.

    Raises:
        ModelRefusedError: The anchor's runtime refuses the anchor.
        DeviceError: The device failed.
    """
    refused: dict[K, str] = {}
    runs: dict[K, int] = {}
    for key, session in sessions.items():
        try:
            runs[key] = protocol.runs(burst_time(session.time(_TRIAL_RUNS).seconds[1:]))
        except ModelRefusedError as error:
            refused[key] = error.message
    samples: dict[K, list[Sample]] = {key: [] for key in runs}
    anchor_session = load_anchor(anchor_target)
    try:
        anchor = Anchor(anchor_session, protocol, anchor_target.runtime.warmup_seconds)
        active = list(runs)
        round_number = 0
        while active:
            anchor.warm_up()
            before = anchor.time()
            for index in rng.permutation(len(active)):
                key = active[index]
                with no_garbage_collection():
                    burst = sessions[key].time(runs[key], warmup=protocol.warmup_runs)
                    after = anchor.time()
                samples[key].append(
                    Sample(
                        round_number, burst.seconds, (before + after) / 2, time.time(), waited=burst.waited
                    )
                )
                before = after
            remaining = [key for key in active if not is_finished(protocol, samples[key])]
            progress.advance(len(active) - len(remaining))
            active, round_number = remaining, round_number + 1
    finally:
        anchor_session.close()
    # One reference for all: their ratios hold whatever the anchor's undisturbed time is.
    reference = reference_anchor([sample.anchor for taken in samples.values() for sample in taken] or [1.0])
    return {key: estimate(taken, reference) for key, taken in samples.items()}, refused
