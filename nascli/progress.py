"""How long work tells what it is doing. The command line shows it; a library user may ignore it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from nascli.errors import Remedy


@dataclass(frozen=True)
class Phase:
    """A phase of a long job, as far as it is known before it begins.

    Attributes:
        task: What is done, as the phase's call of `Progress.start` names it; of a text that is not known to its end,
            the beginning.
        steps: The number of its steps; None where it is not known.
        rate: The name of a rate that phases share, such as 'training': a unit of work takes about as long in each of
            them. None where a step is like nothing else.
        work: The units of work of one step, such as its images.
        seconds: How long the phase is expected to take, before anything was seen of it; None where nobody knows.
        in_parts: Whether its task starts several times, each time up to where it goes next; `steps` is where the last
            one ends.
    """

    task: str
    steps: int | None = None
    rate: str | None = None
    work: float = 1.0
    seconds: float | None = None
    in_parts: bool = False


class Progress(Protocol):
    """Receives the progress of one task at a time. Calls are cheap and come from one thread."""

    def plan(self, phases: Sequence[Phase]) -> None:
        """The phases of the whole job in their order, before the first of them starts.

        A phase begins when a task of its name starts; what lies before it and has not started is left out.
        """

    def start(self, task: str, total: int) -> None:
        """A task of `total` steps begins; it ends the one before."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done; the note says what is known by now."""

    def message(self, text: str, *remedies: Remedy) -> None:
        """A line worth keeping on the screen, and what would mend what it tells of."""


class Silent:
    """Shows nothing."""

    def plan(self, phases: Sequence[Phase]) -> None:
        """Nothing."""

    def start(self, task: str, total: int) -> None:
        """Nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing."""

    def message(self, text: str, *remedies: Remedy) -> None:
        """Nothing."""
