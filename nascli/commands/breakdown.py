"""Where the time of a network goes, for `nascli profile`: its options, and the table on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nascli.commands.options import is_given, target_of
from nascli.commands.output import print_table, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.pipeline.measure.breakdown_page import NetworkFigures, PieceRow
    from nascli.pipeline.measure.breakdown_result import Breakdown

F = TypeVar("F", bound=Callable[..., Any])
_BAR = 20
# Columns that a narrow terminal has no room for.
_WIDE = ("output", "MACs", "moved", "GMAC/s", "GB/s")
_WIDE_TERMINAL = 150


@dataclass(frozen=True)
class BreakdownRequest:
    """What the user wants to see of a network.

    Attributes:
        network: Its file.
        html: The page that is written; None for none.
        compare: The file of another network; None for none.
        order: 'time' or 'network'.
        top: The most rows of a table; None for all.
    """

    network: Path
    html: Path | None
    compare: Path | None
    order: str
    top: int | None


def breakdown_options(function: F) -> F:
    """Add the options that ask for a breakdown, which `breakdown_request` reads."""
    options = (
        click.option(
            "--breakdown", is_flag=True,
            help="Show where the time of --network goes: the latency of each piece, and what it attains.",
        ),
        click.option(
            "--html", type=click.Path(path_type=Path), metavar="FILE",
            help="Write the breakdown of --network as a page.",
        ),
        click.option(
            "--compare", type=click.Path(path_type=Path), metavar="FILE",
            help="Break this network down too, and show both side by side.",
        ),
        click.option(
            "--order", type=click.Choice(["time", "network"]), default="time", show_default=True,
            help="Order the pieces of a breakdown by time, equal ones together, or as the network has them.",
        ),
        click.option("--top", type=click.IntRange(1), help="Show so many rows of a breakdown."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def breakdown_request(
    network: Path | None,
    breakdown: bool,
    html: Path | None,
    compare: Path | None,
    order: str,
    top: int | None,
) -> BreakdownRequest | None:
    """Return what is asked for; None if the operators of a space or a network are to be measured."""
    given = [f"--{name}" for name in ("breakdown", "html", "compare", "order", "top") if is_given(name)]
    if not given:
        return None
    if network is None:
        raise click.UsageError(f"{given[0]} is about a network: give --network FILE")
    others = {
        "host": "--host",
        "plan": "--plan",
        "ray": "--ray",
        "age": "--older-than",
        "unstable": "--unstable",
    }
    for name, flag in others.items():
        if is_given(name):
            raise click.UsageError(f"{given[0]} breaks a network down here and now, without {flag}")
    return BreakdownRequest(network, html, compare, order, top)


def show_breakdown(
    request: BreakdownRequest,
    shapes: dict[str, tuple[int, ...]],
    seed: int,
    as_json: bool,
    **target_values: Any,
) -> None:
    """Break networks down, and show them."""
    from nascli.pipeline.measure.breakdown import break_down
    from nascli.pipeline.measure.breakdown_page import compared, figures_of, write_breakdown_page
    from nascli.pipeline.measure.model_feeds import ModelFeed

    target, execution = target_of(**target_values)
    progress = terminal_progress()
    asked: dict[str, Any] = {"feed": ModelFeed(shapes), "seed": seed, "progress": progress}
    found = [break_down(request.network, target, execution, own_batch=not is_given("batch"), **asked)]
    if request.compare is not None:
        # At the batch of the first, whatever the second is fixed at.
        target = replace(target, batch=found[0].setup.batch)
        found.append(break_down(request.compare, target, execution, **asked))
    progress.finish()
    if request.html is not None:
        write_breakdown_page(found, request.html)
    if as_json:
        show_json(found[0] if len(found) == 1 else compared(found[0], found[1]))
        return
    for one in found:
        _print(one, figures_of(one), request)
    if len(found) > 1:
        _print_comparison(*map(figures_of, found))
    if request.html is not None:
        click.echo(str(request.html))


def _print(breakdown: Breakdown, network: NetworkFigures, request: BreakdownRequest) -> None:
    """Print the pieces of one network."""
    from nascli.units import printable

    for line in [network.headline, *(f"  {finding}" for finding in network.findings)]:
        click.echo(printable(line))
    rows = network.by_time if request.order == "time" else network.in_order
    shown = rows[: request.top]
    longest = max(row.seconds for row in rows)
    table = [_cells(network, row, longest) for row in shown]
    table += _last_rows(network)
    columns = list(table[0])
    if not _is_wide():
        columns = [column for column in columns if column not in _WIDE]
    print_table(columns, [[cells.get(column, "") for column in columns] for cells in table])
    if len(shown) < len(rows):
        from nascli.units import format_seconds

        rest = rows[len(shown) :]
        click.echo(f"and {len(rest)} more with {format_seconds(sum(row.seconds for row in rest))} together")
    if network.runtime_note:
        click.echo(network.runtime_note)
    click.echo(f"the device's best: {network.peak_source}; {breakdown.setup.label}")


def _is_wide() -> bool:
    from rich.console import Console

    console = Console()
    return not console.is_terminal or console.width >= _WIDE_TERMINAL


def _cells(network: NetworkFigures, row: PieceRow, longest: float) -> dict[str, str]:
    """Return the cells of one row by column."""
    from nascli.units import format_bytes, format_count, format_seconds

    runtime = row.runtime_seconds
    return {
        "piece": row.numbers,
        "what": row.name,
        "output": row.first.output,
        "latency": format_seconds(row.seconds),
        "±": format_seconds(row.half_width),
        "share": f"{network.share(row.seconds):.1%}",
        "": "█" * round(_BAR * row.seconds / longest) if longest else "",
        "MACs": format_count(row.macs) if row.macs else "-",
        "moved": format_bytes(row.bytes),
        "GMAC/s": f"{row.macs_per_second / 1e9:.1f}" if row.macs else "-",
        "GB/s": f"{row.bytes_per_second / 1e9:.1f}",
        "of best": "-" if row.attained is None else f"{row.attained:.0%}",
        "bound by": "compute" if row.first.is_compute_bound else "memory",
        network.runtime: "-" if runtime is None else format_seconds(runtime),
    }


def _last_rows(network: NetworkFigures) -> list[dict[str, str]]:
    """Return the rows below the pieces."""
    from nascli.units import format_seconds

    outside = {
        "what": "outside of pieces",
        "latency": format_seconds(network.outside),
        "±": format_seconds(network.outside_half_width),
        "share": f"{network.share(network.outside):.1%}",
    }
    total = {
        "what": "the network",
        "latency": format_seconds(network.seconds),
        "±": format_seconds((network.high - network.low) / 2),
        "share": "100.0%",
    }
    if network.runtime_total is not None:
        total[network.runtime] = format_seconds(network.runtime_total)
    return [outside, total]


def _print_comparison(first: NetworkFigures, second: NetworkFigures) -> None:
    """Print two networks by kinds of pieces."""
    from nascli.pipeline.measure.breakdown_page import comparison_rows

    columns = ["what", first.name, "", second.name, " ", "difference"]
    print_table(columns, comparison_rows(first, second), title=f"{second.name} against {first.name}, by kind")
