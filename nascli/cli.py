"""The command line: `nascli` and its commands."""

from __future__ import annotations

from pathlib import Path

import click

from nascli.commands.calibrate import calibrate
from nascli.commands.group import Group
from nascli.commands.inspect import completion, count, devices, doctor, recipes, spaces
from nascli.commands.measure import measure, predict
from nascli.commands.profile import profile
from nascli.commands.run import report, search, sweep
from nascli.commands.tables import lut
from nascli.commands.train import export, supernet, train
from nascli.commands.transfer import transfer
from nascli.version import __version__


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nascli")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("--quiet", is_flag=True, help="No progress; results and errors only.")
@click.option(
    "--use",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Your own spaces and operators: a .py file (executed) or a .toml file.",
)
def main(debug: bool, quiet: bool, files: tuple[Path, ...]) -> None:
    """Networks that fit a device: measure operators once, search under hard budgets, verify the winner.

    \b
    Example:
      nascli search --constraint latency=8ms
    """
    if files:
        from nascli.spaces.catalog import use_file

        for file in files:
            use_file(file)


for _command in (
    doctor, devices, spaces, recipes, count, profile, lut, calibrate, predict, measure, transfer, search, sweep,
    supernet, train, export, report, completion,
):  # fmt: skip
    main.add_command(_command)


if __name__ == "__main__":
    main()
