"""Evaluators that take many architectures at once: in this process, or on a Ray cluster."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nascli.errors import RuntimeUnavailableError, missing_package
from nascli.search.base import Choices, Evaluation, Score

Scorer = Callable[[Sequence[Choices]], Sequence[tuple[float, float]]]
Split = Callable[[Sequence[Choices]], Iterator[list[Choices]]]
# Batches that may be lost to workers that die, before the cluster is given up.
_MOST_DEATHS = 20
_PATIENCE_SECONDS = 5.0


class LocalEvaluator:
    """Batches, one after the other, in this process.

    Args:
        scorer: scores a batch.
        split: cuts what is asked for into batches.
    """

    def __init__(self, scorer: Scorer, split: Split) -> None:
        self._scorer, self._split = scorer, split

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures."""
        for part in self._split(batch):
            start = time.perf_counter()
            yield from _evaluations(part, self._scorer(part), time.perf_counter() - start)

    def close(self) -> None:
        """Nothing is held."""


def _evaluations(
    batch: Sequence[Choices], scores: Sequence[tuple[float, float]], seconds: float
) -> Iterator[Evaluation]:
    for architecture, (value, tie_break) in zip(batch, scores, strict=True):
        yield Evaluation(architecture, Score(value, tie_break), seconds / len(batch))


def connect(address: str) -> Any:
    """Ray, connected: to the cluster at an address; 'auto' joins the one that is running, or starts one here.

    Raises:
        RuntimeUnavailableError: Ray is not installed, or nobody answers.
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
                    # Ray itself waits for minutes for an address where nobody is.
                    socket.create_connection((host, int(port)), _PATIENCE_SECONDS).close()
                ray.init(address=address, **settings)
            else:
                try:
                    ray.init(address="auto", **settings)
                except ConnectionError:
                    ray.init(include_dashboard=False, **settings)
        except Exception as error:
            raise RuntimeUnavailableError(
                f"no Ray cluster answers at {address!r}: {error}",
                "Start one: ray start --head; or leave the address to nascli: --ray auto",
            ) from error
    return ray


class RayEvaluator:
    """Batches on the workers of a Ray cluster, each of which makes its scorer once.

    A worker that dies, alone or with its node, is replaced, and its batch is done again elsewhere; no architecture is
    answered twice.

    Args:
        make: makes a scorer; called on the worker with `arguments`.
        arguments: carried to the workers once.
        split: cuts what is asked for into batches.
        address: of the cluster.
        workers: how many; by default one per core of the cluster.
    """

    def __init__(
        self,
        make: Callable[..., Scorer],
        arguments: Sequence[Any],
        split: Split,
        *,
        address: str = "auto",
        workers: int | None = None,
    ) -> None:
        self._ray = connect(address)
        ray = self._ray

        class Worker:
            def __init__(self, *given: Any) -> None:
                self._scorer = make(*given)

            def ready(self) -> bool:
                return True

            def score(self, batch: list[Choices]) -> list[tuple[float, float]]:
                return [(float(v), float(t)) for v, t in self._scorer(batch)]

        self._remote = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        self._arguments = [ray.put(argument) for argument in arguments]
        self._split = split
        cores = int(ray.cluster_resources().get("CPU", 1))
        # Workers that have not answered yet, by their first answer: a cluster may have no room for them.
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        for _ in range(workers or max(1, cores)):
            self._hire()

    def _hire(self) -> None:
        worker = self._remote.remote(*self._arguments)
        self._starting[worker.ready.remote()] = worker

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures.

        Raises:
            RuntimeUnavailableError: worker after worker dies.
        """
        ray, deaths = self._ray, 0
        waiting = list(self._split(batch))[::-1]
        running: dict[Any, tuple[Any, list[Choices], float]] = {}
        while waiting or running:
            while waiting and self._idle:
                worker, part = self._idle.pop(), waiting.pop()
                running[worker.score.remote(part)] = (worker, part, time.perf_counter())
            (done, *_), _ = ray.wait([*running, *self._starting], num_returns=1)
            beginner = self._starting.pop(done, None)
            worker, part, start = running.pop(done, (beginner, [], 0.0))
            try:
                scores = ray.get(done)
            except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
                deaths += 1
                # A worker that cannot even begin will not begin elsewhere either.
                if "creation task" in str(error) or deaths > _MOST_DEATHS:
                    raise RuntimeUnavailableError(
                        f"the cluster's workers die ({deaths} so far): {str(error).splitlines()[-1]}",
                        "Look at: ray status. Every node needs nascli with the extra 'search', and the data set.",
                    ) from error
                waiting += [part] if part else []
                self._hire()
                continue
            self._idle.append(worker)
            if beginner is not None:
                continue
            yield from _evaluations(part, scores, time.perf_counter() - start)

    def close(self) -> None:
        """Let the workers go."""
        for worker in [*self._idle, *self._starting.values()]:
            self._ray.kill(worker)
        self._idle, self._starting = [], {}
