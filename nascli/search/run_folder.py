"""A run's folder: one run at a time, one set of settings for good."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from nascli.errors import RunError
from nascli.files import read_json, reading, write_atomically, write_json

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


def _leaves(document: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """The values of a document by their dotted names."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and value:
            found |= _leaves(value, f"{name}{key}.")
        else:
            found[f"{name}{key}"] = value
    return found


class RunFolder:
    """Holds a run's folder while it is worked on.

    Args:
        path: The folder.
        settings: What decides the run's result; a run is gone on with under the same settings only.
        upgrade: Turns settings that an older version wrote into those of today.
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
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"another process is working in {self.path}.", "Wait for it, or choose another --out."
            ) from error
        except OSError as error:
            raise RunError(
                f"cannot use the folder {self.path}: {error.strerror}.",
                "Choose a folder that can be written with --out.",
            ) from error
        try:
            self._claim()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _claim(self) -> None:
        kept = read_json(self.path / SETTINGS)
        if kept is None:
            others = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
            if others:
                raise RunError(
                    f"the folder {self.path} exists and is not a run: it holds {', '.join(others[:3])}.",
                    "Choose another --out.",
                )
            write_json(self.path / SETTINGS, self._settings)
            return
        with reading(self.path / SETTINGS):
            kept = json.loads(json.dumps(self._upgrade(kept)))
        if kept != self._settings:
            if not any(entry.name != SETTINGS for entry in self.path.iterdir() if entry.name[0] != "."):
                # Refused before it did anything: the corrected command may have the folder.
                write_json(self.path / SETTINGS, self._settings)
                return
            was, now = _leaves(kept), _leaves(self._settings)
            differing = [
                f"{key} was {was.get(key)!r} and is now {now.get(key)!r}"
                for key in sorted(set(was) | set(now))
                if was.get(key) != now.get(key)
            ]
            raise RunError(
                f"the run {self.path} was begun with other settings: {'; '.join(differing)}.",
                "Use the old settings to go on with it, choose another --out, or remove the folder.",
            )

    def file(self, name: str) -> Path:
        """A file of the run."""
        return self.path / name


class StateFile:
    """Documents by name in one file; a killed search finds the last complete version."""

    def __init__(self, path: Path | None) -> None:
        """Open or begin a state; without a path nothing outlives the process.

        Raises:
            RunError: a damaged file.
        """
        self._path = path
        self._document: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        try:
            self._document = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(self._document, dict):
                raise ValueError("not an object")
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} is damaged: {error}.", "Remove the run's folder to start anew."
            ) from error

    def get(self, name: str) -> Any:
        """A document, or None."""
        return self._document.get(name)

    def put(self, name: str, document: Any) -> None:
        """Keep a document.

        Raises:
            RunError: the disk refuses.
        """
        self._document[name] = document
        if self._path is None:
            return
        try:
            write_atomically(self._path, json.dumps(self._document).encode() + b"\n")
        except OSError as error:
            raise RunError(
                f"cannot write {self._path}: {error.strerror}.",
                "Free some space and run the same command again; it goes on from here.",
            ) from error
