"""The commands search, sweep, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nascli.commands.options import (
    TARGET_OPTIONS,
    F,
    completing,
    data_option,
    json_option,
    space_option,
    target_of,
    target_options,
)
from nascli.commands.output import print_table, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.pipeline.run.settings import SearchSettings


def search_options(function: F) -> F:
    """What decides a search beside its constraints and place."""
    for option in (
        click.option(
            "--confidence",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            help="Search only where the calibrated model is this sure that the latency budget is kept.",
        ),
        click.option(
            "--set",
            "changes",
            multiple=True,
            metavar="GROUP.NAME=VALUE",
            help="A hyper-parameter of an algorithm: nse.threshold=-3, autospace.compensation=delay.",
        ),
        click.option("--retrain-epochs", type=click.IntRange(1), help="Training of the final networks."),
        click.option("--supernet-epochs", type=click.IntRange(1), help="Of the supernet; of NSE, per round."),
        click.option("--evaluations", type=click.IntRange(8), help="Of random, evolution and guided."),
        click.option("--generations", type=click.IntRange(1), help="Of SPOS."),
        click.option("--population", type=click.IntRange(2), help="Of SPOS."),
        click.option(
            "--preset",
            default="small",
            show_default=True,
            shell_complete=completing("presets"),
            help="How much is spent: small (a CPU, small images) or paper (the papers' ImageNet settings).",
        ),
        click.option(
            "--supernet",
            type=click.Path(path_type=Path),
            help="A checkpoint of `nascli supernet train`, instead of training one.",
        ),
        click.option("--ray", metavar="auto|ADDRESS", help="Evaluate on a Ray cluster."),
        click.option(
            "--after",
            type=click.Path(path_type=Path),
            help="NSE: a finished run, whose last operations the space nse-second inherits.",
        ),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(0)),
        data_option,
        space_option,
        click.option(
            "--algorithm",
            default="spos",
            show_default=True,
            shell_complete=completing("algorithms"),
            help="spos, pcnas, nse, proxyless, nss, autospace, guided, evolution or random.",
        ),
    ):
        function = option(function)
    return function


def settings_of(
    constraints: tuple[str, ...], place: dict[str, Any], chosen: dict[str, Any]
) -> SearchSettings:
    """The settings that `search_options` and constraints name."""
    from nascli.pipeline.run.settings import SearchSettings, effort_of, with_settings

    effort = effort_of(chosen["preset"], chosen["algorithm"]).overridden(
        population=chosen["population"],
        generations=chosen["generations"],
        evaluations=chosen["evaluations"],
        supernet_epochs=chosen["supernet_epochs"],
        retrain_epochs=chosen["retrain_epochs"],
    )
    effort = with_settings(effort, chosen["changes"])
    target, execution = target_of(**place, ray=chosen["ray"])
    settings = SearchSettings(
        chosen["spec"],
        chosen["data"],
        constraints,
        target,
        chosen["algorithm"],
        chosen["seed"],
        effort,
        chosen["confidence"],
        None if chosen["supernet"] is None else str(chosen["supernet"]),
        None if chosen["after"] is None else str(chosen["after"]),
        execution,
    )
    settings.parsed_constraints()
    return settings


@click.command()
@click.option("--constraint", "constraints", multiple=True, required=True, help="latency=8ms, macs<=30M, ...")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder (default: runs/...).")
@search_options
@target_options
@json_option
def search(constraints: tuple[str, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Find the most accurate network within a budget, and verify it on the device.

    Profiles what is missing first. Killed and run again, it goes on where it was.

    \b
    Examples:
      nascli search --constraint latency=8ms --constraint "macs<=30M"
      nascli search --algorithm pcnas --space pcnas-small-mini --constraint latency=0.8ms
      nascli search --algorithm nse --space nse-27-mini --constraint "macs<=4M"
      nascli search --space spos-resnet18-bits-mini --constraint "bitops<=40M"
    """
    from nascli.pipeline.run.settings import default_folder

    place = {name: options.pop(name) for name in TARGET_OPTIONS}
    settings = settings_of(constraints, place, options)
    from nascli.pipeline.run.report import result_lines, write_report
    from nascli.pipeline.run.search import run_search

    folder = out or default_folder(settings)
    progress = terminal_progress()
    result = run_search(settings, folder, progress)
    progress.finish()
    page = write_report(folder)
    if as_json:
        show_json(result)
        return
    lines = result_lines(result)
    print_table(lines[0], lines[1:])
    network = "weights.safetensors" if result["measured_latency_s"] is None else "model.onnx"
    click.echo(f"report: {page}\nnetwork: {folder / network}, {folder / 'architecture.json'}")


@click.command()
@click.option("--budget", "budgets", multiple=True, required=True, help="One search each: latency=6ms, ...")
@click.option("--constraint", "constraints", multiple=True, help="Holds in every search.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the runs (default: runs/...).")
@search_options
@target_options
@json_option
def sweep(
    budgets: tuple[str, ...], constraints: tuple[str, ...], out: Path | None, as_json: bool, **options: Any
) -> None:
    """Search one space under several budgets on one supernet (SPOS, Table 5).

    \b
    Example:
      nascli sweep --budget latency=6ms --budget latency=8ms --budget "macs<=20M"
    """
    place = {name: options.pop(name) for name in TARGET_OPTIONS}
    settings = [settings_of((budget, *constraints), place, options) for budget in budgets]
    from nascli.pipeline.run.report import write_report
    from nascli.pipeline.run.sweep import run_sweep

    progress = terminal_progress()
    rows = run_sweep(budgets, settings, out, progress)
    progress.finish()
    for row in rows:
        write_report(Path(row["run"]))
    if as_json:
        show_json(rows)
        return
    keys = ["budget", "top-1 (95 %)", "measured", "MACs", "params", "feasible", "run"]
    print_table(keys, [[str(row["shown"][key]) for key in keys] for row in rows])


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Of several runs: the page to write.")
@json_option
def report(runs: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Write the report of a finished run, or compare several: one HTML file that opens offline.

    \b
    Examples:
      nascli report runs/first
      nascli report runs/first runs/five --out comparison.html
    """
    from nascli.pipeline.run.report import write_comparison, write_report

    if len(runs) == 1:
        if out is not None:
            raise click.UsageError("--out goes with several runs; a run's own page lies in its folder")
        page = write_report(runs[0])
    else:
        page = write_comparison(runs, out or Path("comparison.html"))
    if as_json:
        show_json({"report": str(page)})
    else:
        click.echo(str(page))
