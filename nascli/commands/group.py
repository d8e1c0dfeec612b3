"""The click group: domain errors become two lines and exit status 1."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from nascli.commands.output import is_main_process
from nascli.errors import LostProcessError, NascliError
from nascli.units import printable

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

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; of several processes, the first one alone tells of wrong usage."""
        if is_main_process() or not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            status = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            sys.exit(error.exit_code)
        sys.exit(status if isinstance(status, int) else 0)

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
            result = super().invoke(ctx)
            if _is_one_of_several():
                from nascli.pipeline.train.processes import leave_process_group

                leave_process_group()
            return result
        except NascliError as error:
            if ctx.params.get("debug"):
                raise
            if error.process is not None:
                from nascli.pipeline.train.processes import await_report

                # That process shows it.
                await_report()
                sys.exit(1)
            from nascli.commands.hints import error_as_text

            exit_with_error(error_as_text(error), 1, is_consequence=isinstance(error, LostProcessError))
        except ModuleNotFoundError as error:
            package = (error.name or "").split(".")[0]
            if ctx.params.get("debug") or package not in _EXTRAS:
                raise
            exit_with_error(
                f"this needs {package}, which is not installed.\nInstall it: {_EXTRAS[package]}", 1
            )
        except ImportError as error:
            if ctx.params.get("debug"):
                raise
            exit_with_error(
                f"a package that is installed cannot be loaded: {error}.\n"
                "Raise the memory limit if there is one (ulimit -v), or install the package anew.",
                1,
            )
        except KeyboardInterrupt:
            exit_with_error(
                "interrupted; what was measured and evaluated is kept, run the same command to go on", 130
            )
        except (OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            exit_with_error(f"{type(error).__name__}: {error}", 1)


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


def _is_one_of_several() -> bool:
    """Whether torchrun started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def exit_with_error(text: str, status: int, *, is_consequence: bool = False) -> None:
    """End with an error: what and why in the first line, what to do in the second.

    Of several processes that have the same error, one shows it; that another process ended is shown only where no
    process has said why.
    """
    several = _is_one_of_several()
    if several:
        from nascli.pipeline.train.processes import claims_report, report_is_shown

        if not claims_report(text, is_consequence=is_consequence):
            sys.exit(status)
        if not is_main_process():
            text = f"process {os.environ['RANK']}: {text}"
    first, _, rest = text.partition("\n")
    click.echo(click.style("error: ", fg="red") + printable(first), err=True)
    if rest:
        click.echo(printable(rest), err=True)
    if several:
        report_is_shown()
    sys.exit(status)
