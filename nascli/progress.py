"""How long work tells what it is doing. The command line shows it; a library user may ignore it."""

from __future__ import annotations

from typing import Protocol

from nascli.errors import Remedy


class Progress(Protocol):
    """Receives the progress of one task at a time. Calls are cheap and come from one thread."""

    def start(self, task: str, total: int) -> None:
        """A task of `total` steps begins; it ends the one before."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done; the note says what is known by now."""

    def message(self, text: str, *remedies: Remedy) -> None:
        """A line worth keeping on the screen, and what would mend what it tells of."""


class Silent:
    """Shows nothing."""

    def start(self, task: str, total: int) -> None:
        """Nothing."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing."""

    def message(self, text: str, *remedies: Remedy) -> None:
        """Nothing."""
