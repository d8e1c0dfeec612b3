"""Files that are either the old or the new, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nascli.errors import RunError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a temporary file, which takes the place of `path` in one step at the end of the context.

    The folder is made if need be. After an error in the context the old content is kept.

    Raises:
        OSError: The file cannot be written; the old content is kept.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content as one step; its folder is made if need be.

    Raises:
        OSError: the file cannot be written; the old content is kept.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


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
