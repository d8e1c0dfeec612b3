"""Evaluators of a user's own: a Python function or a command line, repeated, limited in time, in parallel.

What goes wrong with one architecture (an error, NaN, no answer in time) is that architecture's failure: the search goes
on, says so, and never asks for it again.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from nascli.errors import NascliError
from nascli.search.base import Choices, Evaluation, Score

Function = Callable[[Choices], float]
_LONGEST_REASON = 200


class FunctionEvaluator:
    """An evaluator around a function of the codes, for `drive`.

    Args:
        function: codes to a number; higher is better.
        workers: architectures that are evaluated at a time, each in a thread.
        repeats: evaluations of each; the median counts. For noisy evaluators.
        time_limit: seconds for one evaluation. A Python function that overruns is left behind in its thread
            (Python cannot end it); a command is killed.

    Raises:
        NascliError: settings below 1.
    """

    def __init__(
        self, function: Function, *, workers: int = 1, repeats: int = 1, time_limit: float | None = None
    ) -> None:
        if workers < 1 or repeats < 1 or (time_limit is not None and time_limit <= 0):
            raise NascliError(
                f"workers >= 1, repeats >= 1 and time_limit > 0 must hold, got {workers}, {repeats}, {time_limit}"
            )
        self._function, self._workers = function, workers
        self._repeats, self._limit = repeats, time_limit

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures; they come back as they are ready."""
        if self._workers == 1:
            for architecture in batch:
                yield self._one(architecture)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            for done in as_completed([pool.submit(self._one, architecture) for architecture in batch]):
                yield done.result()

    def close(self) -> None:
        """Nothing is held."""

    def _one(self, architecture: Choices) -> Evaluation:
        start = time.perf_counter()
        values = []
        for _ in range(self._repeats):
            value, failure = self._limited(architecture)
            if failure is not None:
                return Evaluation(architecture, None, time.perf_counter() - start, failure)
            assert value is not None
            values.append(value)
        return Evaluation(architecture, Score(statistics.median(values)), time.perf_counter() - start)

    def _limited(self, architecture: Choices) -> tuple[float | None, str | None]:
        if self._limit is None:
            return self._called(architecture)
        found: list[tuple[float | None, str | None]] = []
        thread = threading.Thread(target=lambda: found.append(self._called(architecture)), daemon=True)
        thread.start()
        thread.join(self._limit)
        return found[0] if found else (None, f"no answer within {self._limit:g} s")

    def _called(self, architecture: Choices) -> tuple[float | None, str | None]:
        try:
            value = float(self._function(architecture))
        # The function is the user's own and may fail in any way.
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
        if not math.isfinite(value):
            return None, f"it gave {value}"
        return value, None


def command_function(arguments: Sequence[str], time_limit: float | None = None) -> Function:
    """A function that runs a command: codes as a JSON list on its input, the score on its last line of output.

    Args:
        arguments: the program and its arguments; no shell is involved.
        time_limit: seconds after which the command is killed, with all that it has started.
    """

    def run(codes: Choices) -> float:
        pipe = subprocess.PIPE
        # A group of its own, so that what it has started ends with it.
        started = subprocess.Popen(
            list(arguments), stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        try:
            said, complained = started.communicate(json.dumps(codes), timeout=time_limit)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise
        if started.returncode != 0:
            last = (complained.strip().splitlines() or ["no message"])[-1]
            raise NascliError(f"{arguments[0]} ended with {started.returncode}: {last}")
        lines = said.strip().splitlines()
        if not lines:
            raise NascliError(f"{arguments[0]} printed nothing; its last line must be the score")
        return float(lines[-1])

    run.__qualname__ = f"command {json.dumps(list(arguments))}"
    return run
