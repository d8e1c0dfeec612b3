import numpy as np
import pytest
from evaluating import OneByOne

from nascli.errors import NascliError
from nascli.progress import Silent
from nascli.search.base import Score
from nascli.search.driver import drive
from nascli.search.journal import Journal


class Listed:
    """Asks for the rows that it was given."""

    name = "listed"

    def __init__(self, batches):
        self.batches, self.told = [np.array(b).reshape(len(b), 2) for b in batches], []

    def ask(self):
        return self.batches.pop(0) if self.batches else np.empty((0, 2), int)

    def tell(self, codes, scores):
        self.told.append([s.value for s in scores])

    @property
    def expected(self):
        return 4


BATCHES = [[(0, 1), (2, 3)], [(0, 1), (4, 5)]]


def score(code):
    return Score(float(sum(code)))


def test_each_architecture_is_evaluated_once_and_told_every_time(tmp_path):
    calls = []
    searcher = Listed(BATCHES)
    outcome = drive(
        searcher, OneByOne(lambda c: calls.append(c) or score(c)), Journal(tmp_path / "j"), Silent()
    )
    assert calls == [(0, 1), (2, 3), (4, 5)]
    assert searcher.told == [[1, 5], [1, 9]]
    assert [e.architecture for e in outcome.ranked] == [(4, 5), (2, 3), (0, 1)]


def test_a_replayed_search_repeats_nothing(tmp_path):
    calls = []

    def interrupted(code):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(code)
        return score(code)

    with pytest.raises(KeyboardInterrupt):
        drive(Listed(BATCHES), OneByOne(interrupted), Journal(tmp_path / "j"), Silent())
    again = []
    outcome = drive(
        Listed(BATCHES), OneByOne(lambda c: again.append(c) or score(c)), Journal(tmp_path / "j"), Silent()
    )
    assert again == [(4, 5)] and len(outcome.evaluations) == 3


def test_limits_and_impossible_scores(tmp_path):
    outcome = drive(Listed(BATCHES), OneByOne(score), Journal(tmp_path / "j"), Silent(), max_evaluations=1)
    assert len(outcome.evaluations) == 1
    with pytest.raises(NascliError, match="scores must be finite"):
        drive(Listed(BATCHES), OneByOne(lambda c: Score(float("nan"))), Journal(tmp_path / "k"), Silent())


def test_ties_are_broken_by_the_second_number():
    assert Score(1.0, 0.0) > Score(1.0, -0.5) > Score(0.9, 9.0)
