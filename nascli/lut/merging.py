"""Samples of one setup from several stores, which all count their rounds from 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nascli.lut.statistics import Sample

Samples = Mapping[str, Sequence[Sample]]


def unknown(known: Samples, offered: Samples) -> dict[str, list[Sample]]:
    """What of `offered` is not among `known`, by operator.

    A burst is known by when it was taken and what it gave, wherever it is counted. One that is new but whose
    round is taken gets the next free one, so that no store's figures push out another's.
    """
    found: dict[str, list[Sample]] = {}
    for key, samples in offered.items():
        have = known.get(key, ())
        by_round = {sample.round: _content(sample) for sample in have}
        contents = set(by_round.values())
        following = 1 + max([*by_round, *(sample.round for sample in samples)], default=-1)
        new = []
        for sample in samples:
            content = _content(sample)
            taken = sample.round in by_round
            # Figures of other tools carry no time, and may well repeat themselves in another round.
            if content in contents and (taken or sample.taken_at > 0):
                continue
            if taken:
                sample, following = replace(sample, round=following), following + 1
            new.append(sample)
        if new:
            found[key] = new
    return found


def _content(sample: Sample) -> tuple[float, float, bytes]:
    return sample.taken_at, sample.anchor, sample.seconds.tobytes()
