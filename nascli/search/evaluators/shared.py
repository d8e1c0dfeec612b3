"""The evaluator of several processes that search together: each scores its share of every batch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from functools import partial

from nascli.search.base import Choices, Evaluation, Score
from nascli.search.evaluators.batched import Scorer, Split
from nascli.supernet.training import distributed


class SharedEvaluator:
    """Scores batches in all processes that search together, which all get all scores.

    All processes call `evaluate` with the same architectures. Neighbours in the sorted order go to one process, so that
    it computes what they share once. An architecture is scored by one process alone, so its score is the one that a
    single process would give it.

    Args:
        scorer: Scores several architectures in this process.
        split: Splits the architectures of a call into sorted batches, of which every process takes one at a time.
    """

    def __init__(self, scorer: Scorer, split: Split) -> None:
        self._scorer, self._split = scorer, split

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures.

        Raises:
            NascliError: A process could not score its share.
        """
        ordered = [architecture for part in self._split(batch) for architecture in part]
        rounds = [list(self._split(share)) for share in distributed.shares(ordered)]
        own = rounds[distributed.process_number()]
        for number in range(max(map(len, rounds))):
            part = own[number] if number < len(own) else []
            start = time.perf_counter()
            found = distributed.on_all(partial(self._scores, part))
            seconds = (time.perf_counter() - start) / sum(map(len, found))
            for architecture, value, tie_break in itertools.chain(*found):
                yield Evaluation(tuple(architecture), Score(value, tie_break), seconds)

    def _scores(self, part: Sequence[Choices]) -> list[tuple[list[int], float, float]]:
        """Return a JSON value of the scores of some architectures."""
        scores = self._scorer(part) if part else []
        return [
            (list(architecture), float(value), float(tie_break))
            for architecture, (value, tie_break) in zip(part, scores, strict=True)
        ]

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
