"""The space that a finished run searched."""

from __future__ import annotations

from nascli.pipeline.run.result import SearchResult
from nascli.spaces.catalog import load_registered_space
from nascli.spaces.space import Space


def searched_space(result: SearchResult) -> Space:
    """Return the space that was searched; a winner whose widths were changed is built in another one.

    Raises:
        UnknownNameError: The searched space is not registered any more.
    """
    own = result.architecture.space
    spec = result.document.get("searched_space", own.spec)
    return own if spec == own.spec else load_registered_space(spec)
