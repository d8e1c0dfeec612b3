"""A run's folder: one run at a time, one set of settings for good."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from nascli.errors import RunError
from nascli.files import write_atomically

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


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replace a JSON file as one step.

    Raises:
        RunError: the file cannot be written.
    """
    try:
        write_atomically(path, json.dumps(document, indent=2).encode() + b"\n")
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror}.", "Free some space and run the same command again."
        ) from error


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON file of the run, or None if it was not written yet.

    Raises:
        RunError: damaged.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error}.", "Remove the run's folder to start anew.") from error
    if not isinstance(document, dict):
        raise RunError(f"{path} is damaged: not an object.", "Remove the run's folder to start anew.")
    return document


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what a well-formed but wrong document does to its reader into a domain error.

    Raises:
        RunError: naming the file.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ArithmeticError) as error:
        raise RunError(
            f"{path} is damaged: {type(error).__name__}: {error}.", "Remove the run's folder to start anew."
        ) from error


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
    """Holds a run's folder while it is worked on."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(dict(settings)))
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
        elif kept != self._settings:
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
