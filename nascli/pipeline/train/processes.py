"""Several processes under torchrun, as the command line sees them."""

from __future__ import annotations

from nascli.supernet.training import distributed, error_reports


def claims_report(text: str, *, is_consequence: bool = False) -> bool:
    """Tell whether this process is the one that shows an error, which several processes may meet.

    Args:
        text: What would be shown.
        is_consequence: Whether the error is that another process ended, which that process may have explained.
    """
    return error_reports.claims_report(text, is_consequence=is_consequence)


def report_is_shown() -> None:
    """Tell the other processes that the error is shown, so that they may end."""
    error_reports.report_is_shown()


def await_report() -> None:
    """Wait until another process has shown the error that it told this one of."""
    error_reports.await_report()


def leave_process_group() -> None:
    """End the work with other processes, after a job that succeeded."""
    distributed.leave_process_group()
