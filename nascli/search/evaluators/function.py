"""An evaluator around a user's own function or command: repeated, limited in time, and in parallel.

If one architecture fails (an error, NaN, no answer in time), that is a failed evaluation: the search reports it,
continues, and does not ask for that architecture again.
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
_MAX_REASON_LENGTH = 200


class FunctionEvaluator:
    """Evaluates architectures with a function.

    Args:
        function: Takes the choices of an architecture and returns a number; higher is better.
        workers: The number of architectures that are evaluated at a time, each in a thread of its own.
        repeats: The number of evaluations of each architecture, whose median is the score; for noisy functions.
        time_limit: Seconds for one call; None sets no limit. Python cannot end a thread, so a function that takes
            longer keeps running in the background; `command_function` kills its command.

    Raises:
        NascliError: `workers` or `repeats` is below 1, or `time_limit` is not positive.
    """

    def __init__(
        self, function: Function, *, workers: int = 1, repeats: int = 1, time_limit: float | None = None
    ) -> None:
        if workers < 1 or repeats < 1 or (time_limit is not None and time_limit <= 0):
            raise NascliError(
                f"workers >= 1, repeats >= 1 and time_limit > 0 must hold, got {workers}, {repeats}, {time_limit}"
            )
        self._function, self._workers = function, workers
        self._repeats, self._time_limit = repeats, time_limit

    def evaluate(self, batch: Sequence[Choices]) -> Iterator[Evaluation]:
        """Evaluate several architectures; they come back as they are ready."""
        if self._workers == 1:
            for architecture in batch:
                yield self._evaluate_one(architecture)
            return
        with ThreadPoolExecutor(self._workers) as pool:
            futures = [pool.submit(self._evaluate_one, architecture) for architecture in batch]
            for future in as_completed(futures):
                yield future.result()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _evaluate_one(self, architecture: Choices) -> Evaluation:
        """Call the function as often as wanted; the first failure ends the evaluation."""
        start = time.perf_counter()
        values = []
        for _ in range(self._repeats):
            value, failure = self._call_within_limit(architecture)
            if failure is not None:
                return Evaluation(architecture, None, time.perf_counter() - start, failure)
            assert value is not None
            values.append(value)
        return Evaluation(architecture, Score(statistics.median(values)), time.perf_counter() - start)

    def _call_within_limit(self, architecture: Choices) -> tuple[float | None, str | None]:
        """Return the value, or why there is none."""
        if self._time_limit is None:
            return self._call(architecture)
        results: list[tuple[float | None, str | None]] = []
        thread = threading.Thread(target=lambda: results.append(self._call(architecture)), daemon=True)
        thread.start()
        thread.join(self._time_limit)
        return results[0] if results else (None, f"no answer within {self._time_limit:g} s")

    def _call(self, architecture: Choices) -> tuple[float | None, str | None]:
        try:
            value = float(self._function(architecture))
        # The function is the user's own and may raise anything.
        except Exception as error:
            return None, f"{type(error).__name__}: {error}"[:_MAX_REASON_LENGTH]
        if not math.isfinite(value):
            return None, f"it gave {value}"
        return value, None


def command_function(arguments: Sequence[str], time_limit: float | None = None) -> Function:
    """Return a function that runs a command for each architecture.

    The command reads the choices of the architecture as a JSON list from its standard input; the last line of its
    output is the score.

    Args:
        arguments: The program and its arguments; no shell is involved.
        time_limit: Seconds after which the command and all processes that it started are killed; None sets no limit.

    Returns:
        A function for `FunctionEvaluator`. It raises NascliError if the command fails or prints nothing.
    """

    def run(architecture: Choices) -> float:
        pipe = subprocess.PIPE
        # In a process group of its own, so that the processes that it starts can be killed with it.
        process = subprocess.Popen(
            list(arguments), stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        try:
            output, errors = process.communicate(json.dumps(architecture), timeout=time_limit)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        if process.returncode != 0:
            reason = (errors.strip().splitlines() or ["no message"])[-1]
            raise NascliError(f"{arguments[0]} ended with {process.returncode}: {reason}")
        lines = output.strip().splitlines()
        if not lines:
            raise NascliError(f"{arguments[0]} printed nothing; its last line must be the score")
        return float(lines[-1])

    run.__qualname__ = f"command {json.dumps(list(arguments))}"
    return run
