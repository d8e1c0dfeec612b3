"""Which of several processes shows an error, so that the user reads it once, and before torchrun ends all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from nascli.supernet.training import distributed

# How long a process looks for the others, or waits until one of them has shown an error.
_TIMEOUT = timedelta(seconds=5)


def claims_report(text: str, *, is_consequence: bool = False) -> bool:
    """Tell whether this process is the one that shows an error to the user, which several processes may meet.

    A process that does not show it waits until it is shown: torchrun ends all processes as soon as one has ended.

    Args:
        text: What would be shown.
        is_consequence: Whether the error is that another process ended, which that process may have explained.
    """
    if distributed.processes_started() < 2:
        return True
    try:
        store = distributed.store_of_group(_TIMEOUT)
        if store is None:
            return distributed.is_first_process()
        if is_consequence and int(store.add("reports", 0)) > 0:
            return False
        name = "consequence" if is_consequence else hashlib.sha256(text.encode()).hexdigest()
        if int(store.add(f"report-{name}", 1)) == 1:
            store.add("reports", 1)
            return True
    except RuntimeError:
        # Nobody can be asked: an error is better shown twice than not at all.
        return True
    await_report()
    return False


def report_is_shown() -> None:
    """Tell the other processes that the error is shown, so that they may end."""
    _ask_store(lambda store: store.set("shown", "1"))


def await_report() -> None:
    """Wait until another process has shown the error that it told this one of, or a few seconds."""
    _ask_store(lambda store: store.wait(["shown"], _TIMEOUT))


def _ask_store(function: Callable[[Any], None]) -> None:
    """Call a function with the store of torchrun, if there is one that answers."""
    if distributed.processes_started() < 2:
        return
    # The store may be gone: this process ends in any case.
    with suppress(RuntimeError):
        store = distributed.store_of_group(_TIMEOUT)
        if store is not None:
            function(store)
