"""The folder of a run: its lock, its settings, the names of its files, and the state between stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from nascli.errors import Remedy, RunError
from nascli.files import read_json, reading, write_atomically, write_json
from nascli.search.journal import Journal, SharedJournal
from nascli.supernet.training import distributed

# The files of a run.
SETTINGS = "settings.json"
COSTS = "costs.json"
RESULT = "result.json"
STORY = "story.json"
EVALUATIONS = "evaluations.jsonl"
FINALISTS = "finalists.json"
# The costs of a rescaled winner's own operators.
WINNER_COSTS = "winner_costs.json"
ARCHITECTURE = "architecture.json"
WEIGHTS = "weights.safetensors"

_ANOTHER_FOLDER = Remedy(arguments={"out": None})


class RunFolder:
    """A context manager that holds the lock of a run's folder.

    Entering it creates the folder and its settings.json, or compares the settings with those that are there. A folder
    whose settings differ is taken over only while it holds nothing else: its run was refused before it did anything.

    Several processes that work together enter it at the same point; the first of them holds the lock and writes.

    Args:
        path: The folder.
        settings: Everything that decides the result of the run, as a JSON document.
        upgrade: Turns the settings of an older version of nascli into those of this one.

    Raises:
        RunError: On entering: another process works in the folder, the folder cannot be used or is not a run, or the
            run was begun with other settings.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        upgrade: Callable[[dict[str, Any]], dict[str, Any]] = lambda document: document,
    ) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(dict(settings)))
        self._upgrade = upgrade
        self._lock = FileLock(path / ".lock")

    def __enter__(self) -> RunFolder:
        distributed.on_first(self._enter)
        return self

    def _enter(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"another process is working in {self.path}.",
                "Wait for it, or choose another folder.",
                _ANOTHER_FOLDER,
            ) from error
        except OSError as error:
            raise RunError(
                f"cannot use the folder {self.path}: {error.strerror}.",
                "Choose a folder that can be written.",
                _ANOTHER_FOLDER,
            ) from error
        try:
            self._check_settings()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _check_settings(self) -> None:
        """Write the settings of a new run, or refuse those that differ from the run's."""
        recorded = read_json(self.path / SETTINGS)
        if recorded is None:
            others = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
            if others:
                raise RunError(
                    f"the folder {self.path} exists and is not a run: it holds {', '.join(others[:3])}.",
                    "Choose another one.",
                    _ANOTHER_FOLDER,
                )
            write_json(self.path / SETTINGS, self._settings)
            return
        with reading(self.path / SETTINGS):
            recorded = json.loads(json.dumps(self._upgrade(recorded)))
        if recorded == self._settings:
            return
        if not any(entry.name != SETTINGS for entry in self.path.iterdir() if entry.name[0] != "."):
            # The run was refused before it did anything: the corrected command may have the folder.
            write_json(self.path / SETTINGS, self._settings)
            return
        before, now = _flatten(recorded), _flatten(self._settings)
        differing = [
            f"{name} was {before.get(name)!r} and is now {now.get(name)!r}"
            for name in sorted(set(before) | set(now))
            if before.get(name) != now.get(name)
        ]
        raise RunError(
            f"the run {self.path} was begun with other settings: {'; '.join(differing)}.",
            "Use the old settings to continue it, remove the folder, or choose another one.",
            _ANOTHER_FOLDER,
        )

    def file(self, name: str) -> Path:
        """The path of a file of the run."""
        return self.path / name

    def read(self, name: str) -> dict[str, Any] | None:
        """Return a JSON file of the run, the same for all processes; None if there is none.

        Raises:
            RunError: The file is damaged.
        """
        return distributed.on_first(lambda: read_json(self.file(name)))

    def write(self, name: str, document: Mapping[str, Any]) -> None:
        """Write a JSON file of the run in one step; of several processes, the first one writes it.

        Raises:
            RunError: The file cannot be written.
        """
        distributed.on_first(lambda: write_json(self.file(name), document))

    def state(self, name: str) -> StateFile:
        """Open a file of documents that the run changes, such as the stages that are done.

        Raises:
            RunError: The file is damaged.
        """
        return StateFile(self.file(name))

    def journal(self) -> Journal:
        """Open the journal of the run. All processes read the same evaluations, and the first one writes.

        Raises:
            RunError: The file cannot be used, or a line inside it is damaged.
        """
        return SharedJournal(self.file(EVALUATIONS))


def _flatten(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested documents by their dotted names."""
    values: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, dict) and value:
            values |= _flatten(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


class StateFile:
    """Documents by name in one file, which is replaced as a whole: a killed search finds its last complete state.

    Several processes that work together open it at the same point, and have the same documents; the first one writes.

    Args:
        path: The file; None keeps the documents in memory alone.

    Raises:
        RunError: The file is damaged.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._document: dict[str, Any] = {}
        if path is not None:
            self._document = distributed.on_first(lambda: _read_state(path))

    def get(self, name: str) -> Any:
        """A document by its name; None where there is none."""
        return self._document.get(name)

    def put(self, name: str, document: Any) -> None:
        """Write a document to the disk, in place of the one of that name.

        Raises:
            RunError: The file cannot be written.
        """
        self._document[name] = document
        if self._path is None or not distributed.is_first_process():
            return
        try:
            write_atomically(self._path, json.dumps(self._document).encode() + b"\n")
        except OSError as error:
            raise RunError(
                f"cannot write {self._path}: {error.strerror}.",
                "Free some space and run the same command again; it continues from here.",
            ) from error


def _read_state(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}.", "Remove the run's folder to start anew.") from error
    return document
