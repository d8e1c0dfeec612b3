"""Timing runs on the CPU by the wall clock, without the time during which the thread waited for a core."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from nascli.profiles.runtimes.base import Burst

# Waits that are shorter than this cannot be told from the time that reading two clocks takes.
_MIN_WAIT_NS = 20_000


def time_runs(run: Callable[[], object], runs: int, warmup: int, works_in_this_thread: bool) -> Burst:
    """Call a function `runs` times, after `warmup` calls that do not count.

    Args:
        run: Runs a model once.
        runs: How many calls are timed.
        warmup: How many calls come before.
        works_in_this_thread: Whether the calling thread does all of the work. Then the difference between the wall
            clock and the thread's own clock is the time during which another process had the core, and is subtracted.
            Where other threads work, the caller's clock stands still while they do, and nothing is subtracted.
    """
    wall = time.perf_counter_ns
    for _ in range(warmup):
        run()
    nanoseconds = np.empty(runs)
    if not works_in_this_thread:
        for index in range(runs):
            start = wall()
            run()
            nanoseconds[index] = wall() - start
        return Burst(nanoseconds * 1e-9)
    thread_clock = time.thread_time_ns
    waits = np.zeros(runs)
    for index in range(runs):
        thread_start = thread_clock()
        start = wall()
        run()
        nanoseconds[index] = wall() - start
        waits[index] = nanoseconds[index] - (thread_clock() - thread_start)
    waits[waits < _MIN_WAIT_NS] = 0
    return Burst((nanoseconds - waits) * 1e-9, float(waits.sum()) * 1e-9)
