"""What is shown of a long run, on a clock that only the test moves."""

import threading
from io import StringIO

import pytest
from rich.console import Console

from nascli.progress import Phase
from nascli.terminal import TerminalProgress


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Shown:
    """A progress whose console is a text."""

    def __init__(self, terminal=False):
        self.clock, self.text = Clock(), StringIO()
        console = Console(file=self.text, force_terminal=terminal, width=200)
        self.progress = TerminalProgress(console, clock=self.clock)

    def run(self, task, total, seconds, first=0.0):
        self.progress.start(task, total)
        self.clock.now += first
        for _ in range(total):
            self.clock.now += seconds
            self.progress.advance(1)

    @property
    def lines(self):
        return self.text.getvalue().splitlines()


PLAN = [
    Phase("training the supernet of", 100, "training", work=64),
    Phase("searching", 50),
    Phase("training winner from scratch", 50, "training", work=64),
]


def test_a_plan_is_shown_before_it_begins():
    shown = Shown()
    shown.progress.plan([Phase("measuring operators", 84, seconds=30.0), *PLAN, Phase("else")])
    assert shown.lines == [
        "5 phases:",
        "  1. measuring operators (84 steps, about 30 s)",
        "  2. training the supernet of (100 steps)",
        "  3. searching (50 steps)",
        "  4. training winner from scratch (50 steps)",
        "  5. else",
    ]


def test_lines_tell_the_phase_and_the_time_left_of_the_task_and_of_the_whole():
    shown = Shown()
    shown.progress.plan(PLAN)
    shown.run("training the supernet of tiny", 100, 2.0, first=60.0)
    lines = shown.lines[4:]
    assert lines[0] == "phase 1 of 3, training the supernet of tiny: 0/100"
    # After the slow first step nobody knows yet; then 2 s for each of 100 and 50 steps, and an unknown search.
    assert lines[1] == "phase 1 of 3, training the supernet of tiny: 1/100, time left not known yet"
    assert lines[2] == (
        "phase 1 of 3, training the supernet of tiny: 9/100, about 3 min 2 s left, at least 4 min 42 s in all"
    )
    shown.run("searching (spos)", 50, 1.0)
    last = shown.lines[-1]
    assert last.startswith("phase 2 of 3, searching (spos): 48/50, about 2 s left, about 1 min 42 s in all")
    shown.run("training winner from scratch", 50, 2.0)
    # The last phase is all that is left.
    assert shown.lines[-1].endswith("left")
    assert "phase 1 of 3, training the supernet of tiny: done in 4 min 20 s" in shown.lines


def test_without_a_plan_a_task_is_shown_alone():
    shown = Shown()
    shown.run("measuring networks", 30, 2.0)
    assert shown.lines[0] == "measuring networks: 0/30"
    assert shown.lines[1] == "measuring networks: 8/30, about 44 s left"
    shown.progress.finish()
    assert shown.lines[-1] == "measuring networks: done in 1 min 0 s"


def test_a_bar_shows_the_same_time_left():
    shown = Shown(terminal=True)
    shown.progress.plan(PLAN)
    shown.run("training the supernet of tiny", 20, 2.0, first=60.0)
    text = shown.text.getvalue()
    assert "phase 1 of 3, training the supernet of tiny" in text and "time left not known yet" in text
    # Of the announced 20 steps alone, and of the 50 of the last phase.
    assert "about 20 s left, at least 2 min 0 s in all" in text
    # Neither an estimate of another making, nor one that counts the set-up as work.
    assert "0:0" not in text and "about 1 min" not in text.replace("at least", "")
    shown.progress.abandon()


@pytest.mark.parametrize("terminal", [False, True])
def test_no_thread_refreshes_while_something_is_measured(terminal):
    shown, before = Shown(terminal), threading.active_count()
    shown.progress.plan(PLAN)
    shown.progress.start("searching", 50)
    assert threading.active_count() == before
    # Nothing is written unless something is reported.
    length = len(shown.text.getvalue())
    shown.clock.now += 100.0
    assert len(shown.text.getvalue()) == length
    shown.progress.advance(1)
    assert len(shown.text.getvalue()) > length and threading.active_count() == before
    shown.progress.abandon()


def test_a_phase_in_parts_keeps_its_line():
    shown = Shown()
    shown.progress.plan([Phase("evolving cells", 40, "cells", in_parts=True)])
    for part in range(4):
        shown.progress.start("evolving cells", 10 * (part + 1))
        shown.progress.advance(10 * part)
        for _ in range(10):
            shown.clock.now += 1.0
            shown.progress.advance(1)
    shown.progress.finish()
    lines = shown.lines[2:]
    assert lines[0] == "phase 1 of 1, evolving cells: 0/40" and lines[-1].endswith("done in 40.0 s")
    assert len(lines) == 4 and lines[1].startswith("phase 1 of 1, evolving cells: 16/40, about 24 s left")
