"""What measuring tells, and writing it into the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, Self

from nascli.errors import ModelRefusedError
from nascli.lut.keys import Setup
from nascli.lut.statistics import Sample
from nascli.lut.store.store import Store
from nascli.lut.store.visits import RoundConditions
from nascli.profiles.conditions import snapshot
from nascli.profiles.devices.cards import Probe
from nascli.profiles.protocol import Subject
from nascli.progress import Progress


class Recorder(Protocol):
    """Receives everything that `measure_subjects` finds out, as soon as it is known.

    All calls come from one thread. An exception that a method raises ends the measurement; what was recorded
    before stays recorded.
    """

    def known(self) -> Mapping[str, Sequence[Sample]]:
        """Return all samples by operator key, in the order of their rounds.

        The samples of earlier runs and those that `add_sample` has received are both included: a round that is
        in here is not taken again.
        """

    def add_sample(self, key: str, sample: Sample) -> None:
        """Record one burst of the operator `key`."""

    def add_round(self, conditions: RoundConditions) -> None:
        """Record the conditions of a round that has ended."""

    def add_notes(self, key: str, notes: Mapping[str, Any]) -> None:
        """Record what the runtime reports about the loaded model `key`, besides its times."""

    def finish(self, count: int) -> None:
        """Note that `count` more subjects need no further samples."""

    def refuse(self, subject: Subject, error: ModelRefusedError) -> None:
        """Note that the runtime refuses a subject, even when it is loaded alone.

        The other subjects are measured nevertheless, unless this method raises `error`.
        """

    def is_slowed(self) -> bool:
        """Return whether the device runs slower than it could right now; such a sample is marked."""


class StoreRecorder:
    """Records one visit to a device in the store. Used as a context manager.

    The visit begins when the context is entered. It ends when the context is left without an exception; a visit
    that failed or was killed has no end in the store. Every sample is committed as soon as it is added.

    Args:
        store: The store that receives samples, notes, and conditions.
        setup: The setup that is measured. The store must know it and all operators that are measured.
        progress: Receives one step for each finished subject, and a message for each refused one.
        probe: Reads the state of the card that is measured; None on a CPU.

    Attributes:
        rounds: The conditions of the rounds of this visit.
        refusals: Label and reason of each subject that the runtime refused.
        host_bound: The keys of the models for which the card waited for the host.
    """

    def __init__(self, store: Store, setup: Setup, *, progress: Progress, probe: Probe | None = None) -> None:
        self._store = store
        self._setup = setup
        self._progress = progress
        self._probe = probe
        self._samples: dict[str, list[Sample]] = {}
        self._visit = -1
        self.rounds: list[RoundConditions] = []
        self.refusals: list[tuple[str, str]] = []
        self.host_bound: list[str] = []

    def __enter__(self) -> Self:
        self._visit = self._store.begin_visit(self._setup, time.time(), self._machine())
        self._samples = self._store.history(self._setup)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._store.end_visit(self._visit, time.time(), self._machine())

    def _machine(self) -> dict[str, Any]:
        return {**snapshot(), "card": None if self._probe is None else self._probe.state()}

    def known(self) -> Mapping[str, Sequence[Sample]]:
        """Return the samples of the setup by key: those of the store, and those added since."""
        return self._samples

    def add_sample(self, key: str, sample: Sample) -> None:
        """Commit one burst.

        Raises:
            StoreError: The store cannot be written, or does not know the operator.
        """
        self._store.add_sample(self._setup, key, sample)
        self._samples.setdefault(key, []).append(sample)
        self._progress.advance(0)

    def add_round(self, conditions: RoundConditions) -> None:
        """Commit the conditions of a round, with the state of the card.

        Raises:
            DeviceError: The card does not answer any more.
            StoreError: The store cannot be written.
        """
        if self._probe is not None:
            conditions = replace(conditions, card=self._probe.state())
        self._store.add_round(self._visit, len(self.rounds), conditions)
        self.rounds.append(conditions)

    def add_notes(self, key: str, notes: Mapping[str, Any]) -> None:
        """Commit what the runtime reports about a model.

        Raises:
            StoreError: The store cannot be written.
        """
        self._store.add_notes(self._setup, key, notes)
        if notes.get("host_bound"):
            self.host_bound.append(key)

    def finish(self, count: int) -> None:
        """Advance the progress by `count` subjects."""
        self._progress.advance(count)

    def refuse(self, subject: Subject, error: ModelRefusedError) -> None:
        """Keep label and reason in `refusals`, and report them."""
        self.refusals.append((subject.label, error.message))
        self._progress.message(f"refused: {subject.label}: {error.message}")

    def is_slowed(self) -> bool:
        """Return whether the card runs slower than it could; False on a CPU.

        Raises:
            DeviceError: The card does not answer any more.
        """
        return self._probe is not None and self._probe.is_slowed()
