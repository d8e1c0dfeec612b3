"""Tables, JSON documents, and progress on the terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import click

from nascli.units import printable

if TYPE_CHECKING:
    from nascli.terminal import TerminalProgress


def is_main_process() -> bool:
    """Whether this process tells the user things: under torchrun the first one alone does."""
    return os.environ.get("RANK", "0") == "0"


def terminal_progress() -> TerminalProgress:
    """Progress on stderr; with --quiet nothing of it is shown. Whatever happens, the terminal is left as it was."""
    from rich.console import Console

    from nascli.commands.hints import advice_as_text
    from nascli.terminal import TerminalProgress

    context = click.get_current_context()
    quiet = bool(context.find_root().params.get("quiet")) or not is_main_process()
    progress = TerminalProgress(Console(stderr=True, quiet=quiet), advice_as_text)
    context.call_on_close(progress.abandon)
    return progress


class HasJson(Protocol):
    """A result of the library, which says itself what its document is."""

    def to_json(self) -> Mapping[str, object]:
        """The result as a document."""
        ...


Document = HasJson | Mapping[str, object]


def show_json(result: Document | Sequence[Document]) -> None:
    """Print a result of the library, a document, or a list of either on stdout."""
    document = [_plain(item) for item in result] if isinstance(result, Sequence) else _plain(result)
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _plain(result: Document) -> Mapping[str, object]:
    return result if isinstance(result, Mapping) else result.to_json()


def value_as_text(value: object) -> str:
    """A setting's value as a user would type it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        return ",".join(map(value_as_text, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:.6g}"
    return "none" if value is None else str(value)


def print_table(columns: list[str], rows: list[list[str]], title: str | None = None) -> None:
    """A table on stdout; piped, it has no colours and is not cut."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # Piped output must not be cut to 80 columns.
    if not console.is_terminal:
        console = Console(width=200)
    if title is not None:
        # Not the table's own title, which would be folded to the table's width.
        console.print(Text(printable(title)), soft_wrap=True)
    table = Table()
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(row[index][:1].isdigit() for row in rows)
        # A path that is cut is of no use: what does not fit is folded.
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
