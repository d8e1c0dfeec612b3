"""Evaluators that score batches of architectures: in this process, or on a Ray cluster."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nascli.errors import Remedy, RuntimeUnavailableError, missing_package
from nascli.search.base import Choices, Evaluation, Score

# Scores a batch: (value, tie-break) of each architecture, in order.
Scorer = Callable[[Sequence[Choices]], Sequence[tuple[float, float]]]
# Splits architectures into batches.
Split = Callable[[Sequence[Choices]], Iterator[list[Choices]]]
# After this many deaths of workers within one call, the cluster is given up.
_MAX_DEATHS = 20
_CONNECT_SECONDS = 5.0


class LocalEvaluator:
    """Scores batches one after the other in this process.

    Args:
        scorer: Scores a batch.
        split: Splits the architectures of a call into batches.
    """

    def __init__(self, scorer: Scorer, split: Split) -> None:
        self._scorer, self._split = scorer, split

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures."""
        for part in self._split(batch):
            start = time.perf_counter()
            yield from _evaluations(part, self._scorer(part), time.perf_counter() - start)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _evaluations(
    batch: Sequence[Choices], scores: Sequence[tuple[float, float]], seconds: float
) -> Iterator[Evaluation]:
    """Yield the evaluations of a batch, each with an equal share of its time."""
    for architecture, (value, tie_break) in zip(batch, scores, strict=True):
        yield Evaluation(architecture, Score(value, tie_break), seconds / len(batch))


def connect(address: str) -> Any:
    """Connect to a Ray cluster.

    Args:
        address: The address of the cluster; 'auto' joins the one that is running, or starts one on this machine.

    Returns:
        The module `ray`, connected.

    Raises:
        RuntimeUnavailableError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise missing_package("ray", "ray", "working on a cluster") from error
    if not ray.is_initialized():
        settings: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        try:
            if address != "auto":
                host, _, port = address.rpartition(":")
                if host and port.isdigit() and "://" not in address:
                    # Ray itself waits for minutes where nothing answers.
                    socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
                ray.init(address=address, **settings)
            else:
                try:
                    ray.init(address="auto", **settings)
                except ConnectionError:
                    ray.init(include_dashboard=False, **settings)
        except Exception as error:
            raise RuntimeUnavailableError(
                f"no Ray cluster answers at {address!r}: {error}",
                "Start one with ray start --head, or leave the address to nascli.",
                Remedy(arguments={"ray": "auto"}),
            ) from error
    return ray


class RayEvaluator:
    """Scores batches on the workers of a Ray cluster, each of which makes its scorer once.

    A worker that dies, alone or with its machine, is replaced, and another worker scores its batch again; every
    architecture is still evaluated exactly once for the caller.

    Args:
        make_scorer: Makes a scorer; called on each worker with `arguments`.
        arguments: What `make_scorer` needs; sent to the cluster once.
        split: Splits the architectures of a call into batches.
        address: The address of the cluster; see `connect`.
        workers: The number of workers; by default one per core of the cluster.

    Raises:
        RuntimeUnavailableError: Ray is not installed, or no cluster answers.
    """

    def __init__(
        self,
        make_scorer: Callable[..., Scorer],
        arguments: Sequence[Any],
        split: Split,
        *,
        address: str = "auto",
        workers: int | None = None,
    ) -> None:
        self._ray = connect(address)
        ray = self._ray

        class Worker:
            def __init__(self, *values: Any) -> None:
                self._scorer = make_scorer(*values)

            def ready(self) -> bool:
                return True

            def score(self, batch: list[Choices]) -> list[tuple[float, float]]:
                return [(float(value), float(tie_break)) for value, tie_break in self._scorer(batch)]

        self._remote = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self._arguments = [ray.put(argument) for argument in arguments]
        self._split = split
        cores = int(ray.cluster_resources().get("CPU", 1))
        # Workers by the result of `ready`: a cluster may have no room for all of them yet.
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        for _ in range(workers or max(1, cores)):
            self._start_worker()

    def _start_worker(self) -> None:
        worker = self._remote.remote(*self._arguments)
        self._starting[worker.ready.remote()] = worker

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures; they come back as their batches are ready.

        Raises:
            RuntimeUnavailableError: Too many workers die, or a worker cannot make its scorer.
        """
        ray, deaths = self._ray, 0
        waiting = list(self._split(batch))[::-1]
        running: dict[Any, tuple[Any, list[Choices], float]] = {}
        while waiting or running:
            while waiting and self._idle:
                worker, part = self._idle.pop(), waiting.pop()
                running[worker.score.remote(part)] = (worker, part, time.perf_counter())
            (done, *_), _ = ray.wait([*running, *self._starting], num_returns=1)
            new_worker = self._starting.pop(done, None)
            worker, part, start = running.pop(done, (new_worker, [], 0.0))
            try:
                scores = ray.get(done)
            except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
                deaths += 1
                # A worker that cannot make its scorer will not make it on another machine either.
                if "creation task" in str(error) or deaths > _MAX_DEATHS:
                    raise RuntimeUnavailableError(
                        f"the cluster's workers die ({deaths} so far): {str(error).splitlines()[-1]}",
                        "Look at: ray status. Every node needs nascli with the extra 'search', and the data set.",
                    ) from error
                waiting += [part] if part else []
                self._start_worker()
                continue
            self._idle.append(worker)
            if new_worker is not None:
                continue
            yield from _evaluations(part, scores, time.perf_counter() - start)

    def close(self) -> None:
        """End all workers; the connection to the cluster stays open."""
        for worker in [*self._idle, *self._starting.values()]:
            self._ray.kill(worker)
        self._idle, self._starting = [], {}
