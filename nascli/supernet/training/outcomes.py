"""What a function did in one process, as a text from which other processes get its result or raise its error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from nascli.errors import NascliError, ProcessGroupError


def outcome_of(function: Callable[[], Any], process: int) -> tuple[str, BaseException | None]:
    """Call a function, and tell what it did.

    Args:
        function: Function whose result is a JSON value.
        process: Number of this process in its group.

    Returns:
        Result or error as a text for `result_of`, and what the function raised; None if it raised nothing.
    """
    try:
        return json.dumps({"result": function()}), None
    except BaseException as error:
        message, hint = f"{type(error).__name__}: {error}", None
        if isinstance(error, NascliError):
            message, hint = error.message, error.hint
        kinds = [kind.__name__ for kind in type(error).__mro__]
        document = {"kinds": kinds, "message": message, "hint": hint, "process": process}
        return json.dumps({"error": document}), error


def result_of(text: str) -> Any:
    """Return the result in a text of `outcome_of`.

    Raises:
        NascliError: The function raised it; its `process` tells where.
        ProcessGroupError: The function raised anything else.
    """
    document = json.loads(text)
    if "error" in document:
        raise _error(document["error"])
    return document["result"]


def _error(document: dict[str, Any]) -> NascliError:
    """Return the error of another process: of the same class, with the same text, and without its remedies as data."""
    known = {kind.__name__: kind for kind in _kinds(NascliError)}
    kind = next((known[name] for name in document["kinds"] if name in known), None)
    message = document["message"]
    if kind is None:
        kind, message = ProcessGroupError, f"process {document['process']} failed: {message}"
    # Some classes make their message of other arguments.
    error = kind.__new__(kind)
    NascliError.__init__(error, message, document["hint"])
    error.process = document["process"]
    return error


def _kinds(base: type[NascliError]) -> Iterator[type[NascliError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)
