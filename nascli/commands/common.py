"""What the commands share: errors, printing, progress, and the options that say where to measure."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nascli.errors import NascliError
from nascli.units import printable

if TYPE_CHECKING:
    from nascli.profiles.target import Where
    from nascli.terminal import TerminalProgress

F = TypeVar("F", bound=Callable[..., Any])

# What brings the optional packages that a command may turn out to need.
_EXTRAS = {
    "torch": "pip install 'nascli[search]'",
    "safetensors": "pip install 'nascli[search]'",
    "sklearn": "pip install 'nascli[search]'",
    "onnxruntime": "pip install 'nascli[cpu]'",
    "tensorboard": "pip install 'nascli[tensorboard]'",
    "PIL": "pip install 'nascli[data]'",
}
# Loading numpy and scipy takes about 400 MB of addresses.
_LEAST_MEMORY = 512 << 20
_ANYWHERE = ("--quiet", "--debug")


class Group(click.Group):
    """Turns domain errors into two lines and exit 1; anything else is a bug and may show a traceback.

    `--quiet` and `--debug` may stand behind a command too.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The options of every command come first, wherever they stand before a ``--``."""
        end = args.index("--") if "--" in args else len(args)
        flags = [word for word in args[:end] if word in _ANYWHERE]
        rest = [word for word in args[:end] if word not in _ANYWHERE]
        return super().parse_args(ctx, [*flags, *rest, *args[end:]])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, and say what went wrong in its own words."""
        try:
            _enough_memory()
            return super().invoke(ctx)
        except NascliError as error:
            if ctx.params.get("debug"):
                raise
            stop(str(error), 1)
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if ctx.params.get("debug") or package not in _EXTRAS:
                raise
            stop(f"this needs {package}, which is not installed.\nInstall it: {_EXTRAS[package]}", 1)
        except ImportError as error:
            if ctx.params.get("debug"):
                raise
            stop(
                f"a package that is installed cannot be loaded: {error}.\n"
                "Raise the memory limit if there is one (ulimit -v), or install the package anew.",
                1,
            )
        except KeyboardInterrupt:
            stop("interrupted; what was measured and evaluated is kept, run the same command to go on", 130)
        except (OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            stop(f"{type(error).__name__}: {error}", 1)


def _enough_memory() -> None:
    """Refuse an address space in which OpenBLAS, which numpy and scipy bring, spins for ever while it is loaded."""
    try:
        import resource
    except ImportError:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < _LEAST_MEMORY:
        raise NascliError(
            f"the address space is limited to {limit / 1e6:.0f} MB, too little to load numpy and scipy.",
            "Raise the limit: ulimit -v unlimited",
        )


def stop(text: str, status: int) -> None:
    """End with an error: what and why in the first line, what to do in the second."""
    first, _, rest = text.partition("\n")
    click.echo(click.style("error: ", fg="red") + printable(first), err=True)
    if rest:
        click.echo(printable(rest), err=True)
    sys.exit(status)


def speaks() -> bool:
    """Whether this process tells the user things: under torchrun the first one alone does."""
    return os.environ.get("RANK", "0") == "0"


def terminal_progress() -> TerminalProgress:
    """Progress on stderr; with --quiet nothing of it is shown. Whatever happens, the terminal is left as it was."""
    from rich.console import Console

    from nascli.terminal import TerminalProgress

    context = click.get_current_context()
    quiet = bool(context.find_root().params.get("quiet")) or not speaks()
    progress = TerminalProgress(Console(stderr=True, quiet=quiet))
    context.call_on_close(progress.abandon)
    return progress


def completing(kind: str) -> Callable[..., list[str]]:
    """What a shell proposes for a value; nothing is loaded before somebody asks.

    Args:
        kind: 'spaces', 'devices', 'runtimes', 'precisions', 'data', 'algorithms', 'presets' or 'recipes'.
    """

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from nascli.pipeline.inspect.names import names

        return [name for name in names(kind) if name.startswith(incomplete)]

    return complete


def space_option(function: F) -> F:
    """`--space`."""
    return click.option(
        "--space",
        "spec",
        default="proxyless-mini",
        show_default=True,
        shell_complete=completing("spaces"),
        help="A space by name and parameters (nascli spaces), or FILE.py:NAME, FILE.toml.",
    )(function)


def data_option(function: F) -> F:
    """`--data`."""
    return click.option(
        "--data",
        default="digits",
        show_default=True,
        shell_complete=completing("data"),
        help="A data set, or NAME:FOLDER.",
    )(function)


def show_json(document: Any) -> None:
    """One document on stdout."""
    click.echo(json.dumps(document, indent=2, allow_nan=False))


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


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def place_options(function: F) -> F:
    """The options that say where to measure, and how models are run there."""
    for option in (
        click.option(
            "--lock-clocks",
            "clock",
            is_flag=False,
            flag_value="sustained",
            metavar="[MHZ]",
            help="Hold a card's clock while measuring; by default at what it sustains. Needs root.",
        ),
        click.option("--rotate-inputs", "rotate", is_flag=True, help="TensorRT: other inputs in each run."),
        click.option("--cuda-graph", is_flag=True, help="Cards: launch each run as one CUDA graph."),
        click.option(
            "--cuda-driver",
            default="auto",
            show_default=True,
            help="TensorRT: cuda-core, pycuda or torch for memory and events.",
        ),
        click.option("--store", type=click.Path(path_type=Path), help="The store's file (default: shared)."),
        click.option(
            "--precision",
            default="fp32",
            show_default=True,
            shell_complete=completing("precisions"),
            help="fp32, fp16, tf32 or int8, as far as the runtime has it.",
        ),
        click.option(
            "--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads per operator."
        ),
        click.option("--batch", default=16, show_default=True, type=click.IntRange(1)),
        click.option(
            "--runtime",
            default="auto",
            show_default=True,
            shell_complete=completing("runtimes"),
            help="Such as ort-cpu.",
        ),
        click.option(
            "--device",
            default="cpu",
            show_default=True,
            shell_complete=completing("devices"),
            help="cpu, or a card: nascli devices.",
        ),
    ):
        function = option(function)
    return function


def where_of(store: Path | None, clock: str | None, **place: Any) -> Where:
    """The place that `place_options` name."""
    from nascli.paths import default_store
    from nascli.profiles.target import Where, clock_of

    mhz = None if clock is None else clock_of(clock, place["device"])
    return Where(store=store or default_store(), clock_mhz=mhz, **place)


PLACE = (
    "device", "runtime", "batch", "threads", "precision", "store", "cuda_driver", "cuda_graph", "rotate", "clock",
)  # fmt: skip
