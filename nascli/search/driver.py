"""The loop that drives every searcher: its limit, its progress, its journal, and its resumption."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from nascli.errors import NascliError
from nascli.progress import Progress
from nascli.search.base import Choices, Evaluation, Evaluator, Score, Searcher
from nascli.search.journal import Journal


@dataclass(frozen=True)
class Outcome:
    """What a search evaluated.

    Attributes:
        evaluations: Every evaluation, in the order in which the searcher asked for it.
    """

    evaluations: tuple[Evaluation, ...]

    @property
    def ranked(self) -> list[Evaluation]:
        """The evaluations that gave a score, best first."""
        succeeded = [evaluation for evaluation in self.evaluations if evaluation.succeeded]
        return sorted(succeeded, key=lambda evaluation: evaluation.required_score, reverse=True)


def drive(
    searcher: Searcher,
    evaluator: Evaluator,
    journal: Journal,
    progress: Progress,
    *,
    max_evaluations: int | None = None,
) -> Outcome:
    """Run a search to its end.

    Evaluations that the journal already holds are replayed, not repeated: a search that was killed asks for the same
    architectures again, gets the recorded scores, and continues from there. The searcher is told the worst score so
    far for an architecture whose evaluation failed.

    Args:
        searcher: Proposes architectures.
        evaluator: Scores them.
        journal: Keeps each evaluation.
        progress: Reports the best score so far.
        max_evaluations: The largest number of distinct architectures to evaluate; None sets no limit.

    Raises:
        NascliError: A score is not finite, or every evaluation failed.
    """
    progress.start(f"searching ({searcher.name})", max_evaluations or searcher.expected)
    evaluated: dict[Choices, Evaluation] = {}
    scored = _ScoreRange()
    while True:
        population = searcher.ask()
        if len(population) == 0:
            break
        asked = [tuple(int(choice) for choice in row) for row in population]
        missing = _missing(asked, evaluated, journal, max_evaluations)
        for evaluation in _evaluate(missing, evaluator, journal, progress):
            # Told as soon as it is known: a population may take long.
            scored.add(evaluation.score)
            progress.advance(1, scored.best_text)
        new = set(missing)
        scores: list[Score] = []
        for architecture in asked:
            if architecture not in journal.evaluations:
                return _outcome(evaluated)
            evaluation = journal.evaluations[architecture]
            if architecture not in evaluated:
                if max_evaluations is not None and len(evaluated) >= max_evaluations:
                    return _outcome(evaluated)
                evaluated[architecture] = evaluation
                if architecture not in new:
                    scored.add(evaluation.score)
                    progress.advance(1, scored.best_text)
            scores.append(evaluation.score or scored.worst or Score(0.0))
        searcher.tell(population, scores)
    return _outcome(evaluated)


class _ScoreRange:
    """The best and the worst score so far.

    Attributes:
        best: The highest score; None before the first.
        worst: The lowest score; None before the first.
    """

    def __init__(self) -> None:
        self.best: Score | None = None
        self.worst: Score | None = None

    def add(self, score: Score | None) -> None:
        """Take a score into account; None is that of an evaluation that failed."""
        if score is not None:
            self.best = score if self.best is None else max(self.best, score)
            self.worst = score if self.worst is None else min(self.worst, score)

    @property
    def best_text(self) -> str:
        """The best score in words."""
        return "none succeeded yet" if self.best is None else f"best {self.best.value:.4f}"


def _missing(
    asked: Sequence[Choices],
    evaluated: Mapping[Choices, Evaluation],
    journal: Journal,
    max_evaluations: int | None,
) -> list[Choices]:
    """Return the architectures that the journal lacks, as far as the limit admits them."""
    missing = list(dict.fromkeys(row for row in asked if row not in journal.evaluations))
    if max_evaluations is None:
        return missing
    # The limit counts what this search asked for, whether the journal has it or not.
    new = list(dict.fromkeys(row for row in asked if row not in evaluated))
    admitted = set(new[: max_evaluations - len(evaluated)])
    return [row for row in missing if row in admitted]


def _outcome(evaluated: Mapping[Choices, Evaluation]) -> Outcome:
    """Return the outcome, unless every evaluation failed."""
    if evaluated and not any(evaluation.succeeded for evaluation in evaluated.values()):
        first = next(iter(evaluated.values()))
        raise NascliError(
            f"all {len(evaluated)} evaluations failed; the first: {first.failure}.",
            "Try the evaluator on one architecture by itself.",
        )
    return Outcome(tuple(evaluated.values()))


def _evaluate(
    architectures: Sequence[Choices], evaluator: Evaluator, journal: Journal, progress: Progress
) -> Iterator[Evaluation]:
    """Evaluate what the journal lacks, and yield each evaluation once it is written down, as soon as it is known."""
    for evaluation in evaluator.evaluate(architectures):
        score = evaluation.score
        if score is None:
            progress.message(f"{list(evaluation.architecture)} failed: {evaluation.failure}")
        elif not (math.isfinite(score.value) and math.isfinite(score.tie_break)):
            raise NascliError(
                f"the evaluator gave {score} for {list(evaluation.architecture)}; scores must be finite"
            )
        journal.add(evaluation)
        yield evaluation
