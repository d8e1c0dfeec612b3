"""The one loop that drives every search: its limit, its progress, its journal, and its resumption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.errors import NascliError
from nascli.progress import Progress
from nascli.search.base import Choices, Evaluation, Evaluator, Score, Searcher
from nascli.search.journal import Journal


@dataclass(frozen=True)
class Outcome:
    """Every evaluation of a search in the order in which it was asked for."""

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

    Evaluations that the journal already holds are replayed, not repeated: a search that was killed asks
    the same questions again, gets the recorded answers, and goes on from there. An architecture whose
    evaluation failed counts for the searcher as the worst seen so far.

    Args:
        searcher: Proposes architectures.
        evaluator: Scores them.
        journal: Keeps each evaluation.
        progress: Is shown the best score so far.
        max_evaluations: A limit on the number of evaluations.

    Raises:
        NascliError: A score is not finite, or every evaluation failed.
    """
    progress.start(f"searching ({searcher.name})", max_evaluations or searcher.expected)
    seen: dict[Choices, Evaluation] = {}
    worst: Score | None = None
    while True:
        population = searcher.ask()
        if len(population) == 0:
            break
        asked = [tuple(int(choice) for choice in row) for row in population]
        _evaluate(_missing(asked, seen, journal, max_evaluations), evaluator, journal, progress)
        scores: list[Score] = []
        for architecture in asked:
            if architecture not in journal.evaluations:
                return _outcome(seen)
            evaluation = journal.evaluations[architecture]
            if architecture not in seen:
                if max_evaluations is not None and len(seen) >= max_evaluations:
                    return _outcome(seen)
                seen[architecture] = evaluation
                known = [each.score for each in seen.values() if each.score is not None]
                worst = min(known, default=None)
                progress.advance(1, f"best {max(known).value:.4f}" if known else "none succeeded yet")
            scores.append(evaluation.score or worst or Score(0.0))
        searcher.tell(population, scores)
    return _outcome(seen)


def _missing(
    asked: Sequence[Choices], seen: dict[Choices, Evaluation], journal: Journal, max_evaluations: int | None
) -> list[Choices]:
    """What must be evaluated: what the journal lacks and the limit admits."""
    missing = list(dict.fromkeys(row for row in asked if row not in journal.evaluations))
    if max_evaluations is None:
        return missing
    # Of what was never seen, only so much is admitted.
    unseen = list(dict.fromkeys(row for row in asked if row not in seen))
    admitted = set(unseen[: max_evaluations - len(seen)])
    return [row for row in missing if row in admitted]


def _outcome(seen: dict[Choices, Evaluation]) -> Outcome:
    if seen and not any(evaluation.succeeded for evaluation in seen.values()):
        first = next(iter(seen.values()))
        raise NascliError(
            f"all {len(seen)} evaluations failed; the first: {first.failure}.",
            "Try the evaluator on one architecture by itself.",
        )
    return Outcome(tuple(seen.values()))


def _evaluate(
    architectures: Sequence[Choices], evaluator: Evaluator, journal: Journal, progress: Progress
) -> None:
    """Evaluate what the journal lacks; each evaluation is written down as soon as it is known."""
    for evaluation in evaluator.evaluate(architectures):
        score = evaluation.score
        if score is None:
            progress.message(f"{list(evaluation.architecture)} failed: {evaluation.failure}")
        elif not (math.isfinite(score.value) and math.isfinite(score.tie_break)):
            raise NascliError(
                f"the evaluator gave {score} for {list(evaluation.architecture)}; scores must be finite"
            )
        journal.add(evaluation)
