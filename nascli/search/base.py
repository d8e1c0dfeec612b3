"""What a searcher and an evaluator must do, and what they hand to each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nascli.spaces.space import Population

# One architecture as plain integers, so that it can be a key of a dictionary.
Choices = tuple[int, ...]


@dataclass(frozen=True, order=True)
class Score:
    """How good an architecture is.

    Scores compare by `value`, and by `tie_break` where the values are equal; higher is better.

    Attributes:
        value: The figure that the search maximises, such as a top-1 accuracy between 0 and 1.
        tie_break: Decides between equal values.
    """

    value: float
    tie_break: float = 0.0


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one architecture.

    Attributes:
        architecture: The choice of each layer.
        score: The score; None where the evaluation failed.
        seconds: How long the evaluation took.
        failure: Why there is no score; None where there is one.

    Raises:
        ValueError: Both or neither of score and failure are given.
    """

    architecture: Choices
    score: Score | None
    seconds: float
    failure: str | None = None

    def __post_init__(self) -> None:
        if (self.score is None) == (self.failure is None):
            raise ValueError(
                f"exactly one of score and failure must be given, got {self.score} and {self.failure}"
            )

    @property
    def succeeded(self) -> bool:
        """Whether there is a score."""
        return self.score is not None

    @property
    def value(self) -> float:
        """The value of the score.

        Raises:
            ValueError: The evaluation failed.
        """
        return self.required_score.value

    @property
    def required_score(self) -> Score:
        """The score, where a failed evaluation would be a mistake of the caller.

        Raises:
            ValueError: The evaluation failed.
        """
        if self.score is None:
            raise ValueError(f"the evaluation of {self.architecture} failed: {self.failure}")
        return self.score


class Evaluator(Protocol):
    """Scores architectures.

    An evaluator is deterministic within one run, so that a resumed run sees the same scores.
    """

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures.

        Args:
            batch: Distinct architectures.

        Yields:
            One evaluation for each architecture, in any order.
        """

    def close(self) -> None:
        """Release processes and connections; the evaluator is not used afterwards."""


class Searcher(Protocol):
    """Proposes architectures and learns their scores.

    The driver calls `ask`, evaluates the architectures that it returns, and calls `tell` with their scores in the
    same order, until `ask` returns no rows. A searcher draws all its randomness from the generator that it was made
    with: if it is told the same scores again, it must ask for the same architectures again. This is how a killed
    search resumes.

    Attributes:
        name: The name that progress shows.
    """

    name: str

    def ask(self) -> Population:
        """Propose architectures.

        Returns:
            `(n, layers)` choices to evaluate next; no rows when the search is over.
        """

    def tell(self, population: Population, scores: Sequence[Score]) -> None:
        """Learn scores.

        Args:
            population: The `(n, layers)` architectures that `ask` returned last.
            scores: Their scores, in the same order.
        """

    @property
    def expected(self) -> int:
        """About how many evaluations the whole search takes."""
