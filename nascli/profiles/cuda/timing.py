"""Timing queries on a card as `trtexec` times its GPU Compute Time.

Each query lies between two events in one stream. The next query is queued before the one before it is waited
for, so the card never runs dry between two; the host spins on the event and does not sleep. A query's time is
the difference of its events on the card's own clock: no transfer, no launch, no queue.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from nascli.errors import DeviceError
from nascli.profiles.cuda.base import Driver, Event, Stream

IN_FLIGHT = 2
# A query that is not done after this long never will be: the card hangs.
_LONGEST_SECONDS = 60.0
# The host must queue a query in clearly less time than the card takes for it.
_HOST_BOUND = 0.8


class Queries(NamedTuple):
    """What a burst of queries took.

    Attributes:
        seconds: `(runs,)` on the card.
        enqueue: `(runs,)` seconds that the host took to queue each.
    """

    seconds: npt.NDArray[np.float64]
    enqueue: npt.NDArray[np.float64]

    @property
    def host_bound(self) -> bool:
        """Whether the card waited for the host, so that `seconds` holds gaps between kernels."""
        return bool(np.median(self.enqueue) > _HOST_BOUND * np.median(self.seconds))


def time_queries(
    driver: Driver,
    stream: Stream,
    enqueue: Callable[[int], None],
    runs: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    in_flight: int = IN_FLIGHT,
) -> Queries:
    """Time `runs` queries, one after the other.

    Args:
        driver: makes the events.
        stream: that `enqueue` puts its work into.
        enqueue: queues one query; given its number.
        runs: how many.
        clock: the host's clock, in seconds.
        in_flight: queries queued at once.

    Raises:
        DeviceError: a query that never ends.
    """
    events = [(driver.event(), driver.event()) for _ in range(runs)]
    queueing = np.empty(runs)
    waiting: deque[Event] = deque()
    for number, (start, end) in enumerate(events):
        begun = clock()
        stream.record(start)
        enqueue(number)
        stream.record(end)
        queueing[number] = clock() - begun
        waiting.append(end)
        if len(waiting) >= in_flight:
            _spin(waiting.popleft(), clock)
    while waiting:
        _spin(waiting.popleft(), clock)
    return Queries(np.array([end.since(start) for start, end in events]), queueing)


def _spin(event: Event, clock: Callable[[], float]) -> None:
    start = clock()
    while not event.done():
        if clock() - start > _LONGEST_SECONDS:
            raise DeviceError(
                f"a query has not ended after {_LONGEST_SECONDS:.0f} s: the card hangs.",
                "What was measured is kept. Look at nvidia-smi, and run the same command again.",
            )
