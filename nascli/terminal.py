"""Showing progress on a terminal, or as plain lines where there is none. Writes to stderr only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from nascli.errors import Remedy
from nascli.units import format_seconds, printable

_LINE_EVERY_SECONDS = 15.0
_REDRAW_SECONDS = 0.3


class TerminalProgress:
    """A bar with the time left on a terminal; a line now and then elsewhere.

    The bar is redrawn only when something is reported: a refreshing thread would disturb measurements.

    Args:
        console: Where it is shown.
        advice: Joins a line with what to type for its remedies; None shows the line alone.
    """

    def __init__(
        self, console: Console, advice: Callable[[str, Sequence[Remedy]], str] | None = None
    ) -> None:
        self._console = console
        self._advice = advice
        self._bars: Bars | None = None
        self._name = ""
        self._total = 0
        self._done = 0
        self._started = 0.0
        self._drawn = 0.0
        self._lined = 0.0

    def start(self, task: str, total: int) -> None:
        """A task begins; the one before ends."""
        self.finish()
        task = printable(task)
        self._name, self._total, self._done = task, total, 0
        self._started = self._drawn = self._lined = time.monotonic()
        if self._console.is_terminal:
            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", style="dim", markup=False),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._bars.start()
            self._bars.add_task(task, total=total, note="")
        else:
            self._console.print(f"{task}: 0/{total}", highlight=False, markup=False)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done."""
        note = printable(note)
        self._done += steps
        now = time.monotonic()
        if self._bars is not None:
            task = self._bars.task_ids[0]
            if note:
                self._bars.update(task, advance=steps, note=note)
            else:
                self._bars.advance(task, steps)
            if now - self._drawn > _REDRAW_SECONDS:
                self._bars.refresh()
                self._drawn = now
        elif now - self._lined > _LINE_EVERY_SECONDS:
            self._lined = now
            left = (now - self._started) / max(self._done, 1) * (self._total - self._done)
            self._console.print(
                f"{self._name}: {self._done}/{self._total}, about {format_seconds(left)} left {note}",
                highlight=False,
                markup=False,
            )

    def message(self, text: str, *remedies: Remedy) -> None:
        """A line that stays."""
        if self._advice is not None:
            text = self._advice(text, remedies)
        target = self._bars.console if self._bars is not None else self._console
        target.print(printable(text), highlight=False, markup=False)

    def abandon(self) -> None:
        """End whatever is under way without a word, and give the terminal back."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        self._name = ""

    def finish(self) -> None:
        """End the task under way, leaving one line that says how long it took."""
        if not self._name:
            return
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        taken = time.monotonic() - self._started
        self._console.print(f"{self._name}: done in {format_seconds(taken)}", highlight=False, markup=False)
        self._name = ""
