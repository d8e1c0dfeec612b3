"""Timing queries on a card as `trtexec` measures its GPU Compute Time.

Each query lies between two events in one stream. The host queues the next query before it waits for the previous one,
so that the card is never idle between two queries, and it polls the event instead of sleeping. The time of a query is
the difference of its events on the card's clock; it contains no transfer, no launch, and no time in the queue.
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
# The card hangs if a query is not done after this time.
_MAX_QUERY_SECONDS = 60.0
# The host limits the card if queueing a query takes more than this share of the query's time.
_HOST_BOUND_SHARE = 0.8


class Queries(NamedTuple):
    """The times of a burst of queries.

    Attributes:
        seconds: `(runs,)` seconds that the card took for each query.
        enqueue: `(runs,)` seconds that the host took to queue each query.
    """

    seconds: npt.NDArray[np.float64]
    enqueue: npt.NDArray[np.float64]

    @property
    def host_bound(self) -> bool:
        """Whether the card waited for the host, so that `seconds` holds gaps between kernels."""
        return bool(np.median(self.enqueue) > _HOST_BOUND_SHARE * np.median(self.seconds))


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
        driver: Makes the events.
        stream: The stream that `enqueue` puts its work into.
        enqueue: Queues the query with the given number.
        runs: The number of queries.
        clock: Returns the host's time in seconds.
        in_flight: Maximum number of queries that are queued at the same time.

    Raises:
        DeviceError: A query does not end.
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
        if clock() - start > _MAX_QUERY_SECONDS:
            raise DeviceError(
                f"a query has not ended after {_MAX_QUERY_SECONDS:.0f} s: the card hangs.",
                "What was measured is kept. Look at nvidia-smi, and run the same command again.",
            )
