"""A recorder that keeps everything in memory, and the contract of a recorder.

Subclass `RecorderContract`, give it a recorder, and let pytest collect it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from nascli.errors import ModelRefusedError
from nascli.lut.keys import program_key
from nascli.lut.statistics import Sample
from nascli.lut.store.visits import RoundConditions
from nascli.profiles.protocol import Subject
from nascli.profiles.recorder import Recorder
from nascli.spaces.operators.inverted_residual import mbconv


class ListRecorder:
    """Keeps what a measurement finds out in lists, for tests of runtimes and of measuring.

    Args:
        known: Samples that were taken before, by key.
        keeps_refusals: Whether a refused model is kept in `refusals`; by default its error is raised.
        slowed: What `is_slowed` returns.

    Attributes:
        added: The samples of this measurement by key, without those of `known`.
        rounds: The conditions of each round.
        notes: The last notes by key.
        finished: How many subjects need no further samples.
        refusals: The error of each refused subject by its label.
    """

    def __init__(
        self,
        known: Mapping[str, Sequence[Sample]] | None = None,
        *,
        keeps_refusals: bool = False,
        slowed: bool = False,
    ) -> None:
        self._known = {key: list(samples) for key, samples in (known or {}).items()}
        self._keeps_refusals = keeps_refusals
        self._slowed = slowed
        self.added: dict[str, list[Sample]] = {}
        self.rounds: list[RoundConditions] = []
        self.notes: dict[str, dict[str, Any]] = {}
        self.finished = 0
        self.refusals: dict[str, ModelRefusedError] = {}

    def known(self) -> Mapping[str, Sequence[Sample]]:
        """Return all samples by key: those that were given, and those added since."""
        return self._known

    def add_sample(self, key: str, sample: Sample) -> None:
        """Append a sample."""
        self._known.setdefault(key, []).append(sample)
        self.added.setdefault(key, []).append(sample)

    def add_round(self, conditions: RoundConditions) -> None:
        """Append the conditions of a round."""
        self.rounds.append(conditions)

    def add_notes(self, key: str, notes: Mapping[str, Any]) -> None:
        """Keep the notes of a model."""
        self.notes[key] = dict(notes)

    def finish(self, count: int) -> None:
        """Add to the number of finished subjects."""
        self.finished += count

    def refuse(self, subject: Subject, error: ModelRefusedError) -> None:
        """Keep the error.

        Raises:
            ModelRefusedError: The error itself, without `keeps_refusals`.
        """
        if not self._keeps_refusals:
            raise error
        self.refusals[subject.label] = error

    def is_slowed(self) -> bool:
        """Return what the recorder was made with."""
        return self._slowed


PROGRAM = mbconv((8, 4, 4), 8).program
SUBJECT = Subject(program_key(PROGRAM), "an operator", PROGRAM, 1e6)


class RecorderContract:
    """Tests that hold for any recorder that knows the operator `SUBJECT` and has no samples of it yet."""

    @pytest.fixture
    def recorder(self) -> Recorder:
        """The recorder under test."""
        raise TypeError("override recorder()")

    def test_added_samples_are_known(self, recorder: Recorder) -> None:
        """Each of them, in the order of the rounds, so that no round is taken again."""
        assert not recorder.known().get(SUBJECT.key)
        for number in range(3):
            recorder.add_sample(SUBJECT.key, Sample(number, np.full(4, 1e-3), 1e-3, 5.0))
            assert [s.round for s in recorder.known()[SUBJECT.key]] == list(range(number + 1))

    def test_conditions_notes_and_progress_are_taken(self, recorder: Recorder) -> None:
        """Whatever the recorder does with them, it goes on."""
        recorder.add_round(RoundConditions(1.0, 2.0, 3, None, None, None))
        recorder.add_round(RoundConditions(3.0, 2.0, 3, 0.0, 0.1, 0.2))
        recorder.add_notes(SUBJECT.key, {"layers": ["a"]})
        recorder.finish(0)
        recorder.finish(1)
        assert recorder.is_slowed() in (False, True)
