"""How long work will still take: of one task from its pace, and of a job of several phases from their rates."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nascli.progress import Phase

# Reports that come within this share of the time since the start count as one.
_RESOLUTION = 0.002
# What is reported so soon after the start was done before, by a run that this one resumes.
_RESUMED_SECONDS = 0.02
# A gap between two reports is work if it is at least this share of the usual gap; shorter ones are within a burst.
_WITHIN_BURST = 0.5
# Gaps within bursts make up less than this share of the time.
_NOTHING = 0.1
# What follows the set-up says something once it is this share of the time.
_TOO_SHORT = 0.02
# The single longest stretch is left out if its steps took so many times as long as usual.
_OUTLIER = 8.0
# The number of latest reports that decide the pace.
_WINDOW = 512


class Pace:
    """How long a step of one task takes, from when its steps were reported.

    Steps before the first stretch of work are not counted: they were done by the run that is resumed. Nor is that first
    stretch, which contains the set-up. Steps may be reported in bursts: then a burst ends what the gap before it took.

    Args:
        now: When the task starts, in seconds of any clock.
    """

    def __init__(self, now: float) -> None:
        self._start = now
        self._points: deque[_Point] = deque([_Point(now, now, 0)], maxlen=_WINDOW)
        self._seconds: float | None = None

    @property
    def done(self) -> int:
        """The number of steps that were reported."""
        return self._points[-1].done

    def report(self, now: float, steps: int) -> None:
        """Note that some more steps are done."""
        if steps <= 0:
            return
        last = self._points[-1]
        resolution = _RESOLUTION * (now - self._start)
        if now - self._start < _RESUMED_SECONDS or (now - last.first <= resolution and len(self._points) > 1):
            self._points[-1] = _Point(last.first, now, last.done + steps)
        else:
            self._points.append(_Point(now, now, last.done + steps))

    def seconds_per_step(self) -> float | None:
        """Return how long a step takes lately; None before a stretch of work after the set-up has ended."""
        return self.seconds_and_steps_at_hand()[0]

    def seconds_and_steps_at_hand(self) -> tuple[float | None, int]:
        """Return `seconds_per_step`, and how many steps of a burst that has begun are still to be reported.

        Those steps are done already.
        """
        stretches, at_hand = _stretches(list(self._points))
        seconds = _mean_seconds(stretches)
        if seconds is not None:
            self._seconds = seconds
        return self._seconds, at_hand

    def overall(self, now: float) -> float | None:
        """Return how long a step took on average with the set-up; None where none was done."""
        first = self._points[0]
        done = self.done - first.done
        return (now - first.last) / done if done > 0 else None


@dataclass(frozen=True)
class _Point:
    """Reports that came together: when the first and the last of them came, and how many steps were done then."""

    first: float
    last: float
    done: int


def _stretches(points: Sequence[_Point]) -> tuple[list[tuple[float, int]], int]:
    """Return seconds and steps between the ends of bursts, without the first stretch; and what the last burst lacks."""
    gaps = [later.first - earlier.last for earlier, later in pairwise(points)]
    first = _first_long(gaps)
    if first is None:
        return [], 0
    elapsed = points[-1].last - points[0].first
    before, points, gaps = points[first], points[first + 1 :], gaps[first + 1 :]
    if points[-1].last - points[0].first < _TOO_SHORT * elapsed:
        # So far there is the first burst alone.
        return [], 0
    usual = _usual_gap(gaps)
    # A point ends a burst where a long gap follows. The last one does if its burst is as large as any other.
    ends = [point for point, gap in zip(points, gaps, strict=False) if gap >= _WITHIN_BURST * usual]
    sizes = [later.done - earlier.done for earlier, later in pairwise([before, *ends, points[-1]])]
    lacking = 0
    if len(sizes) > 1 and sizes[-1] >= max(sizes[:-1]):
        ends.append(points[-1])
    elif len(sizes) > 1:
        lacking = max(0, sizes[-2] - sizes[-1])
    return [
        (later.last - earlier.last, later.done - earlier.done) for earlier, later in pairwise(ends)
    ], lacking


def _first_long(gaps: Sequence[float]) -> int | None:
    """Return the number of the first gap that is work; None where there is no gap."""
    long = _WITHIN_BURST * _usual_gap(gaps)
    return next((number for number, gap in enumerate(gaps) if gap >= long), None)


def _usual_gap(gaps: Sequence[float]) -> float:
    """Return the gap such that gaps at least as long make up half of the time.

    The single longest one is left out, unless the others are next to nothing.
    """
    ordered = sorted(gaps, reverse=True)
    if ordered and sum(ordered[1:]) > _NOTHING * sum(ordered):
        ordered = ordered[1:]
    left = sum(ordered) / 2
    for gap in ordered:
        left -= gap
        if left <= 0:
            return gap
    return 0.0


def _mean_seconds(stretches: Sequence[tuple[float, int]]) -> float | None:
    """Return the mean time of a step, without the longest stretch if it is far out of the ordinary."""
    if not stretches:
        return None
    if len(stretches) > 2:
        paces = [seconds / steps for seconds, steps in stretches]
        slowest = max(range(len(paces)), key=paces.__getitem__)
        if paces[slowest] > _OUTLIER * _median(paces):
            stretches = [stretch for number, stretch in enumerate(stretches) if number != slowest]
    return sum(seconds for seconds, _ in stretches) / sum(steps for _, steps in stretches)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


class RemainingTime:
    """How long a job still takes, by its plan and by what its phases took so far.

    Attributes:
        number: The number of the phase under way, from 1; 0 before the first, and None where the plan does not have it.
    """

    def __init__(self) -> None:
        self._phases: Sequence[Phase] = ()
        self._index = -1
        self._rates: dict[str, float] = {}
        self._pace: Pace | None = None
        self._phase = Phase("")
        self._total = 0
        self._begun = 0.0
        self.number: int | None = None

    @property
    def phases(self) -> int:
        """The number of planned phases."""
        return len(self._phases)

    @property
    def is_last(self) -> bool:
        """Whether no phase follows the one under way."""
        return self._index + 1 >= len(self._phases)

    def plan(self, phases: Sequence[Phase]) -> None:
        """Take the phases of a job that has not begun."""
        self._phases, self._index, self._rates = tuple(phases), -1, {}

    def continues(self, task: str) -> bool:
        """Return whether a task goes on with the phase under way, instead of beginning one."""
        return self.number is not None and self._phase.in_parts and task.startswith(self._phase.task)

    def start(self, task: str, total: int, now: float) -> None:
        """A task begins at a time, and the one before ends."""
        self.end(now)
        if not self.continues(task):
            self._begin_phase(task)
        whole = self._phase.steps if self._phase.in_parts else None
        self._total = total if whole is None else max(total, whole)
        self._pace, self._begun = Pace(now), now

    def _begin_phase(self, task: str) -> None:
        coming = range(self._index + 1, len(self._phases))
        found = next((index for index in coming if task.startswith(self._phases[index].task)), None)
        if found is None:
            self._phase, self.number = Phase(task), None
        else:
            self._index, self._phase, self.number = found, self._phases[found], found + 1

    def end(self, now: float) -> None:
        """The task under way ends; what its steps took stands for later phases of its rate."""
        if self._pace is None:
            return
        own = self._pace.seconds_per_step()
        seconds = self._pace.overall(now) if own is None else own
        if self._phase.rate is not None and seconds is not None:
            self._rates[self._phase.rate] = seconds / self._phase.work
        self._pace = None

    def advance(self, steps: int, now: float) -> None:
        """Some steps of the task are done at a time."""
        if self._pace is not None:
            self._pace.report(now, steps)

    @property
    def done(self) -> int:
        """The number of steps of the task that are done."""
        return 0 if self._pace is None else self._pace.done

    @property
    def total(self) -> int:
        """The number of steps of the task."""
        return self._total

    def of_task(self, now: float) -> float | None:
        """Return the seconds that the task still takes; None where nobody knows yet."""
        if self._pace is None:
            return None
        left = max(0, self._total - self._pace.done)
        own, at_hand = self._pace.seconds_and_steps_at_hand()
        rate = self._phase.rate
        if own is not None:
            if rate is not None:
                self._rates[rate] = own / self._phase.work
            return own * max(0, left - at_hand)
        if rate in self._rates:
            return self._rates[str(rate)] * self._phase.work * left
        if self._phase.seconds is not None:
            return max(0.0, self._phase.seconds - (now - self._begun))
        return None

    def of_job(self, now: float) -> tuple[float | None, bool]:
        """Return the seconds that the whole job still takes, and whether all its phases are in them.

        The first is None where the plan does not have the task under way, or nothing is known.
        """
        task = self.of_task(now)
        if not self._phases or (self.number is None and self._index < 0):
            return None, False
        coming = [self._of_phase(phase) for phase in self._phases[self._index + 1 :]]
        known = [seconds for seconds in [task, *coming] if seconds is not None]
        return (sum(known) if known else None), len(known) == 1 + len(coming)

    def _of_phase(self, phase: Phase) -> float | None:
        """Return how long a phase that has not begun will take; None where nobody knows."""
        if phase.steps is not None and phase.rate in self._rates:
            return self._rates[str(phase.rate)] * phase.work * phase.steps
        return phase.seconds
