"""Showing progress on a terminal, or as plain lines where there is none. Writes to stderr only."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars

from nascli.errors import Remedy
from nascli.progress import Phase
from nascli.remaining_time import RemainingTime
from nascli.units import format_seconds, printable

_LINE_EVERY_SECONDS = 15.0
_REDRAW_SECONDS = 0.3


class TerminalProgress:
    """A bar with the time left on a terminal; a line now and then elsewhere.

    The bar is redrawn only when something is reported: a refreshing thread would disturb measurements.

    Args:
        console: Where it is shown.
        advice: Joins a line with what to type for its remedies; None shows the line alone.
        clock: Returns the time in seconds, from any start.
    """

    def __init__(
        self,
        console: Console,
        advice: Callable[[str, Sequence[Remedy]], str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._advice = advice
        self._clock = clock
        self._remaining = RemainingTime()
        self._bars: Bars | None = None
        self._name = ""
        self._started = 0.0
        self._drawn = 0.0
        self._lined = 0.0

    def plan(self, phases: Sequence[Phase]) -> None:
        """Show the phases of a job, and count them from now on."""
        self.finish()
        self._remaining.plan(phases)
        lines = [f"{number}. {_phase_text(phase)}" for number, phase in enumerate(phases, 1)]
        self.message("\n  ".join([f"{len(phases)} phases:", *lines]))

    def start(self, task: str, total: int) -> None:
        """A task begins; the one before ends."""
        task = printable(task)
        now = self._clock()
        if self._name and self._remaining.continues(task):
            # The same phase goes on: it keeps its line or bar.
            self._remaining.start(task, total, now)
            self._show(now, "", completed=True)
            return
        self.finish()
        self._remaining.start(task, total, now)
        number = self._remaining.number
        self._name = task if number is None else f"phase {number} of {self._remaining.phases}, {task}"
        self._started = self._drawn = self._lined = now
        if self._console.is_terminal:
            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}", markup=False),
                TextColumn("{task.fields[note]}", style="dim", markup=False),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._bars.start()
            self._bars.add_task(self._name, total=self._remaining.total, note="", left=self._left_text(now))
        else:
            self._console.print(f"{self._name}: 0/{self._remaining.total}", highlight=False, markup=False)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Some steps are done."""
        now = self._clock()
        self._remaining.advance(steps, now)
        self._show(now, printable(note))

    def _show(self, now: float, note: str, completed: bool = False) -> None:
        """Redraw the bar, or print a line, if the last one was long enough ago."""
        done, total = self._remaining.done, self._remaining.total
        if self._bars is not None:
            task = self._bars.task_ids[0]
            if note:
                self._bars.update(task, note=note)
            if now - self._drawn > _REDRAW_SECONDS:
                self._bars.update(task, completed=done, total=total, left=self._left_text(now))
                self._bars.refresh()
                self._drawn = now
        elif self._name and not completed and now - self._lined > _LINE_EVERY_SECONDS:
            self._lined = now
            text = f"{self._name}: {done}/{total}, {self._left_text(now)} {note}"
            self._console.print(text.rstrip(), highlight=False, markup=False)

    def _left_text(self, now: float) -> str:
        """Return how long the task and the whole job still take, as far as it is known."""
        task = self._remaining.of_task(now)
        job, is_complete = self._remaining.of_job(now)
        text = "time left not known yet" if task is None else f"about {_about(task)} left"
        if job is None or self._remaining.is_last:
            return text
        return f"{text}, {'about' if is_complete else 'at least'} {_about(job)} in all"

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
        now = self._clock()
        self._remaining.end(now)
        taken = format_seconds(now - self._started)
        self._console.print(f"{self._name}: done in {taken}", highlight=False, markup=False)
        self._name = ""


def _about(seconds: float) -> str:
    """Return an estimate in words: whole seconds, since nobody knows it better."""
    return f"{seconds:.0f} s" if seconds < 59.5 else format_seconds(seconds)


def _phase_text(phase: Phase) -> str:
    """Return a line about a phase that has not begun."""
    known = [] if phase.steps is None else [f"{phase.steps} steps"]
    if phase.seconds is not None:
        known.append(f"about {_about(phase.seconds)}")
    return f"{phase.task} ({', '.join(known)})" if known else phase.task
