"""The one loop that drives every search: budget, progress, journal and resumption live here."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from nascli.errors import NascliError
from nascli.progress import Progress
from nascli.search.base import Evaluator, Score, Searcher
from nascli.search.evaluators.batched import Batched
from nascli.search.journal import Choices, Entry, Journal


@dataclass(frozen=True)
class Outcome:
    """Every evaluation of a search in the order in which it was asked for."""

    entries: tuple[Entry, ...]

    @property
    def ranked(self) -> list[Entry]:
        """Best first, without what failed."""
        succeeded = [entry for entry in self.entries if entry.failure is None]
        return sorted(succeeded, key=lambda entry: entry.score, reverse=True)


def drive(
    searcher: Searcher,
    evaluator: Evaluator | Batched,
    journal: Journal,
    progress: Progress,
    *,
    max_evaluations: int | None = None,
) -> Outcome:
    """Run a search to its end.

    Evaluations that the journal already holds are replayed, not repeated: a search that was killed asks
    the same questions again, gets the recorded answers, and goes on from there. An architecture whose
    guarded evaluation failed counts for the searcher as the worst seen so far.

    Args:
        searcher: proposes architectures.
        evaluator: scores them.
        journal: where each evaluation is kept.
        progress: is shown the best score so far.
        max_evaluations: a limit on the number of evaluations.

    Raises:
        NascliError: a plain evaluator that returns something else than a finite score, or a guarded one of
            which every evaluation failed.
    """
    progress.start(f"searching ({searcher.name})", max_evaluations or searcher.expected)
    seen: dict[Choices, Entry] = {}
    worst: Score | None = None
    while True:
        codes = searcher.ask()
        if len(codes) == 0:
            break
        keys = [tuple(int(code) for code in row) for row in codes]
        missing = list(dict.fromkeys(key for key in keys if key not in journal.entries))
        if max_evaluations is not None:
            # Of what was never seen, only so much is admitted.
            admitted = set(
                list(dict.fromkeys(key for key in keys if key not in seen))[: max_evaluations - len(seen)]
            )
            missing = [key for key in missing if key in admitted]
        _evaluate(missing, evaluator, journal, progress)
        scores: list[Score] = []
        for key in keys:
            if key not in journal.entries:
                return _outcome(seen)
            entry = journal.entries[key]
            if key not in seen:
                if max_evaluations is not None and len(seen) >= max_evaluations:
                    return _outcome(seen)
                seen[key] = entry
                succeeded = [e.score for e in seen.values() if e.failure is None]
                worst = min(succeeded, default=None)
                progress.advance(1, f"best {max(succeeded).value:.4f}" if succeeded else "none succeeded yet")
            scores.append(entry.score if entry.failure is None else worst or Score(0.0))
        searcher.tell(codes, scores)
    return _outcome(seen)


def _outcome(seen: dict[Choices, Entry]) -> Outcome:
    if seen and all(entry.failure is not None for entry in seen.values()):
        first = next(iter(seen.values()))
        raise NascliError(
            f"all {len(seen)} evaluations failed; the first: {first.failure}.",
            "Try the evaluator on one architecture by itself.",
        )
    return Outcome(tuple(seen.values()))


def _evaluate(
    keys: Sequence[Choices], evaluator: Evaluator | Batched, journal: Journal, progress: Progress
) -> None:
    """Evaluate what the journal lacks, each written down as soon as it is known."""
    if hasattr(evaluator, "many"):
        for answer in evaluator.many(keys):
            if answer.failure is not None:
                progress.message(f"{list(answer.codes)} failed: {answer.failure}")
            journal.add(answer.codes, answer.score or Score(0.0), answer.seconds, answer.failure)
        return
    for key in keys:
        start = time.perf_counter()
        score = evaluator(key)
        if not (math.isfinite(score.value) and math.isfinite(score.tie_break)):
            raise NascliError(f"the evaluator gave {score} for {list(key)}; scores must be finite")
        journal.add(key, score, time.perf_counter() - start)
