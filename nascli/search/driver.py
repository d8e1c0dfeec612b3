"""The one loop that drives every search: budget, progress, journal and resumption live here."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from nascli.errors import NascliError
from nascli.progress import Progress
from nascli.search.base import Evaluator, Score, Searcher
from nascli.search.journal import Entry, Journal


@dataclass(frozen=True)
class Outcome:
    """Every evaluation of a search in the order in which it was asked for."""

    entries: tuple[Entry, ...]

    @property
    def ranked(self) -> list[Entry]:
        """Best first."""
        return sorted(self.entries, key=lambda entry: entry.score, reverse=True)


def drive(
    searcher: Searcher,
    evaluator: Evaluator,
    journal: Journal,
    progress: Progress,
    *,
    most: int | None = None,
) -> Outcome:
    """Run a search to its end.

    Evaluations that the journal already holds are replayed, not repeated: a search that was killed asks
    the same questions again, gets the recorded answers, and goes on from there.

    Args:
        searcher: proposes architectures.
        evaluator: scores them.
        journal: where each evaluation is kept.
        progress: is shown the best score so far.
        most: a limit on the number of evaluations.

    Raises:
        NascliError: an evaluator that returns something else than a finite score.
    """
    progress.start(f"searching ({searcher.name})", most or searcher.expected)
    seen: dict[tuple[int, ...], Entry] = {}
    while True:
        codes = searcher.ask()
        if len(codes) == 0:
            break
        scores: list[Score] = []
        for row in codes:
            key = tuple(int(code) for code in row)
            if key not in journal.entries:
                if most is not None and len(seen) >= most:
                    return Outcome(tuple(seen.values()))
                start = time.perf_counter()
                score = evaluator(key)
                if not (math.isfinite(score.value) and math.isfinite(score.tie_break)):
                    raise NascliError(f"the evaluator gave {score} for {list(key)}; scores must be finite")
                journal.add(key, score, time.perf_counter() - start)
            if key not in seen:
                seen[key] = journal.entries[key]
                best = max(entry.score for entry in seen.values())
                progress.advance(1, f"best {best.value:.4f}")
            scores.append(seen[key].score)
        searcher.tell(codes, scores)
    return Outcome(tuple(seen.values()))
