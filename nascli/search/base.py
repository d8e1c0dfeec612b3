"""What a search algorithm and an evaluator must do; the driver knows nothing else of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nascli.spaces.space import Population


@dataclass(frozen=True, order=True)
class Score:
    """How good an architecture is; higher is better, ties are broken by the second number."""

    value: float
    tie_break: float = 0.0


class Evaluator(Protocol):
    """Scores one architecture. Deterministic for one run, so that a resumed run sees the same scores."""

    def __call__(self, code: Sequence[int]) -> Score:
        """Score a row of codes."""


class Searcher(Protocol):
    """Proposes architectures and learns their scores.

    The driver calls `ask`, evaluates what it returns, and calls `tell` with the scores in the same order,
    until `ask` returns no rows. A searcher draws all its randomness from the generator it was made with:
    replayed with the same scores it must ask the same, which is how a killed search resumes.
    """

    name: str

    def ask(self) -> Population:
        """The next `(n, layers)` architectures to evaluate; no rows when the search is over."""

    def tell(self, codes: Population, scores: Sequence[Score]) -> None:
        """The scores of what was asked."""

    @property
    def expected(self) -> int:
        """About how many evaluations the whole search takes."""
