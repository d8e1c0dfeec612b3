"""The journal of a search: one line per evaluation, on disk before the search continues."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nascli.errors import RunError
from nascli.search.base import Choices, Evaluation, Score
from nascli.supernet.training import distributed


class Journal:
    """Evaluations of a run, appended durably.

    Opening a journal drops its last line if a crash cut it short.

    Args:
        path: The file; it is created if it does not exist.
        about: What the evaluations are of, where no run folder says so. It becomes the first line of a new journal,
            and must equal that of an existing one.

    Attributes:
        path: The file.
        evaluations: The evaluations by architecture.

    Raises:
        RunError: The file cannot be used, a line inside it is damaged, or it is about something else.
    """

    def __init__(self, path: Path, about: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.evaluations: dict[Choices, Evaluation] = {}
        self._about: dict[str, str] = {}
        try:
            if path.exists():
                self._read()
            self._file = path.open("ab")
            if about is not None and not self.evaluations and not self._about:
                self._append({"about": dict(about)})
                self._about = dict(about)
        except OSError as error:
            raise RunError(f"cannot use the journal {path}: {error.strerror}") from error
        if about is not None and self._about != about:
            self.close()
            differing = [
                f"{name} was {self._about.get(name)!r} and is now {value!r}"
                for name, value in about.items()
                if self._about.get(name) != value
            ]
            raise RunError(
                f"the journal {path} keeps evaluations of something else: {'; '.join(differing)}.",
                "Name another file.",
            )

    def _read(self) -> None:
        """Read all complete lines, and cut off an incomplete last one."""
        data = self.path.read_bytes()
        complete = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:complete].splitlines(), 1):
            try:
                document = json.loads(line)
                if number == 1 and "about" in document:
                    self._about = {str(name): str(value) for name, value in document["about"].items()}
                    continue
                evaluation = _evaluation_from_json(document)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
                raise RunError(
                    f"line {number} of {self.path} is damaged: {error}.",
                    "Remove the run's folder to start anew.",
                ) from error
            self.evaluations[evaluation.architecture] = evaluation
        if complete != len(data):
            with self.path.open("r+b") as file:
                file.truncate(complete)

    def add(self, evaluation: Evaluation) -> None:
        """Write an evaluation to the disk.

        Raises:
            RunError: The file cannot be written.
        """
        try:
            self._append(_evaluation_to_json(evaluation))
        except OSError as error:
            raise RunError(
                f"cannot write the journal {self.path}: {error.strerror}.",
                "Free some space and run the same command again; it continues from here.",
            ) from error
        self.evaluations[evaluation.architecture] = evaluation

    def _append(self, document: Mapping[str, object]) -> None:
        self._file.write(json.dumps(document).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def __iter__(self) -> Iterator[Evaluation]:
        return iter(self.evaluations.values())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SharedJournal(Journal):
    """The journal of a run that several processes carry out together.

    They open it at the same point and have the same evaluations; the first one has the file.

    Args:
        path: The file; it is created if it does not exist.

    Raises:
        RunError: On all processes: the file cannot be used, or a line inside it is damaged.
    """

    def __init__(self, path: Path) -> None:
        def read() -> list[dict[str, object]]:
            super(SharedJournal, self).__init__(path)
            return [_evaluation_to_json(evaluation) for evaluation in self]

        documents = distributed.on_first(read)
        if not distributed.is_first_process():
            self.path = path
            found = [_evaluation_from_json(document) for document in documents]
            self.evaluations = {evaluation.architecture: evaluation for evaluation in found}

    def add(self, evaluation: Evaluation) -> None:
        """Write an evaluation to the disk, on the first process; keep it on all.

        Raises:
            RunError: On the first process: the file cannot be written.
        """
        if distributed.is_first_process():
            super().add(evaluation)
        else:
            self.evaluations[evaluation.architecture] = evaluation

    def close(self) -> None:
        """Close the file."""
        if distributed.is_first_process():
            super().close()


def _evaluation_to_json(evaluation: Evaluation) -> dict[str, object]:
    # Readers of version 0.1.0 expect a score of a failed evaluation too; nobody uses it.
    score = evaluation.score or Score(0.0)
    document: dict[str, object] = {
        "codes": evaluation.architecture,
        "value": score.value,
        "tie_break": score.tie_break,
        "seconds": round(evaluation.seconds, 6),
    }
    if evaluation.failure is not None:
        document["failure"] = evaluation.failure
    return document


def _evaluation_from_json(document: Mapping[str, Any]) -> Evaluation:
    score = Score(float(document["value"]), float(document["tie_break"]))
    architecture = tuple(int(choice) for choice in document["codes"])
    seconds, failure = float(document["seconds"]), document.get("failure")
    if failure is None:
        return Evaluation(architecture, score, seconds)
    return Evaluation(architecture, None, seconds, str(failure))
