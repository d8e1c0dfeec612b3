"""The state of a search between its stages: one JSON file, replaced as one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nascli.errors import RunError
from nascli.files import write_atomically


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
