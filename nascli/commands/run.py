"""The commands search, sweep, and report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nascli.commands.hints import advice_as_text, unmeasured_as_text
from nascli.commands.options import (
    DATA_OPTIONS,
    TARGET_OPTIONS,
    F,
    completing,
    data_options,
    data_options_of,
    json_option,
    space_option,
    target_of,
    target_options,
    teacher_of,
    teacher_options,
    training_of,
    training_options,
)
from nascli.commands.output import (
    is_main_process,
    print_table,
    show_json,
    terminal_progress,
    value_as_text,
)
from nascli.units import format_count, format_estimated_count, format_seconds

if TYPE_CHECKING:
    from nascli.pipeline.run.result import SearchResult
    from nascli.pipeline.run.settings import SearchSettings
    from nascli.pipeline.run.sweep import SweepRow
    from nascli.search.preset import Preset


class AlgorithmOption(click.Option):
    """An option whose help lists the algorithms that there are; they are looked up when the help is shown."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option's line of the help."""
        from nascli.search.registry import default_algorithm, loadable_algorithms

        lines = [f"{name}: {algorithm.summary}" for name, algorithm in loadable_algorithms().items()]
        self.help = f"How to search; {default_algorithm()} by default. " + "; ".join(lines) + "."
        return super().get_help_record(ctx)


def search_options(function: F) -> F:
    """What decides a search beside its constraints and target."""
    for option in (
        click.option(
            "--measure",
            is_flag=True,
            help="Measure the winner and its baselines end to end, although no budget is a latency.",
        ),
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
            help="Change a hyper-parameter of the algorithm: nse.threshold=-3, autospace.compensation=delay.",
        ),
        click.option(
            "--retrain-epochs", type=click.IntRange(1), help="Train the final networks for so many epochs."
        ),
        click.option(
            "--supernet-epochs",
            type=click.IntRange(1),
            help="Train the supernet for so many epochs; with NSE, in each round.",
        ),
        click.option(
            "--evaluations",
            type=click.IntRange(8),
            help="Evaluate so many architectures (random, evolution, guided).",
        ),
        click.option("--generations", type=click.IntRange(1), help="Run so many generations (SPOS)."),
        click.option(
            "--population", type=click.IntRange(2), help="Keep so many architectures in a generation (SPOS)."
        ),
        click.option(
            "--final-on",
            type=click.Choice(["train", "all"]),
            help="Train the winner on the training part, or on all images but the test part (default: the preset's).",
        ),
        click.option(
            "--preset",
            default="small",
            show_default=True,
            shell_complete=completing("presets"),
            help="Take all settings from this preset: small (a CPU, small images) or paper (the paper's).",
        ),
        click.option(
            "--supernet",
            type=click.Path(path_type=Path),
            help="Use a checkpoint of `nascli supernet train` instead of training a supernet.",
        ),
        teacher_options,
        click.option("--ray", metavar="auto|ADDRESS", help="Evaluate architectures on a Ray cluster."),
        click.option(
            "--after",
            type=click.Path(path_type=Path),
            help="Go on from a finished run (NSE): the space nse-second inherits its last operations.",
        ),
        click.option(
            "--seed",
            default=0,
            show_default=True,
            type=click.IntRange(0),
            help="Seed everything that is random.",
        ),
        data_options,
        space_option,
        click.option(
            "--algorithm",
            cls=AlgorithmOption,
            shell_complete=completing("algorithms"),
        ),
    ):
        function = option(function)
    return function


def preset_of(constraints: tuple[str, ...], chosen: dict[str, Any]) -> tuple[str, Preset]:
    """The algorithm and all its settings that `search_options` and constraints name."""
    from nascli.pipeline.run.settings import choose_preset
    from nascli.search.registry import default_algorithm

    algorithm = chosen["algorithm"] or default_algorithm()
    searcher = {name: chosen[name] for name in ("population", "generations", "evaluations")}
    preset, unused = choose_preset(
        algorithm,
        chosen["preset"],
        supernet_epochs=chosen["supernet_epochs"],
        retrain_epochs=chosen["retrain_epochs"],
        searcher=searcher,
        changes=chosen["changes"],
        budgets=constraints,
    )
    if chosen["final_on"] is not None:
        preset = replace(preset, final_on=chosen["final_on"])
    if unused:
        options = ", ".join(f"--{name}" for name in unused)
        terminal_progress().message(f"{options}: nothing of {algorithm} is called so, and nothing changes")
    return algorithm, preset


def settings_of(
    constraints: tuple[str, ...],
    target_values: dict[str, Any],
    chosen: dict[str, Any],
    word: str | None = None,
) -> SearchSettings:
    """The settings that `search_options` and constraints name; `word` is that of `target_of`."""
    from nascli.pipeline.run.settings import SearchSettings

    algorithm, preset = preset_of(constraints, chosen)
    training = training_of(chosen)
    target, execution = target_of(**target_values, ray=chosen["ray"], word=word, training=training)
    return SearchSettings(
        space=chosen["spec"],
        data=chosen["data"],
        budgets=constraints,
        target=target,
        algorithm=algorithm,
        preset=preset,
        seed=chosen["seed"],
        confidence=chosen["confidence"],
        supernet=None if chosen["supernet"] is None else str(chosen["supernet"]),
        after=None if chosen["after"] is None else str(chosen["after"]),
        teacher=teacher_of(chosen),
        measure=chosen["measure"],
        execution=execution,
        data_options=data_options_of(**{name: chosen[name] for name in DATA_OPTIONS}),
    )


@click.command()
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    help="What the network must keep: latency=8ms, macs<=30M, 300M<=macs<=350M, latency@titanxp<=6ms.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Keep the run in this folder (default: runs/...)."
)
@click.option(
    "--dry-run", is_flag=True, help="Show every number that the search would use, and run nothing of it."
)
@search_options
@training_options
@target_options
@json_option
def search(
    constraints: tuple[str, ...], out: Path | None, dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Find the most accurate network within a budget, and verify a budget on latency on the device.

    Under a latency, profiles what is missing first; under counted budgets alone, measures nothing. Killed and run
    again, it goes on where it was. Several processes under torchrun search together.

    \b
    Examples:
      nascli search --constraint latency=8ms --constraint "macs<=30M"
      nascli search --algorithm pcnas --space pcnas-small-mini --constraint latency=0.8ms
      nascli search --algorithm nse --space nse-27-mini --constraint "macs<=4M"
      nascli search --space spos-resnet18-bits-mini --constraint "bitops<=40M"
      nascli search --algorithm nse --space nse-27 --preset paper --constraint "300M<=macs<=350M" --dry-run
      torchrun --nproc-per-node 2 -m nascli search --constraint "macs<=30M"
    """
    if dry_run:
        _show_plan(constraints, options, as_json)
        return
    if not constraints:
        raise click.UsageError("Missing option '--constraint': say what the network must keep")
    target_values = {name: options.pop(name) for name in TARGET_OPTIONS}
    settings = settings_of(constraints, target_values, options, "fastest")
    from nascli.pipeline.run.report import write_report
    from nascli.pipeline.run.search import run_search
    from nascli.pipeline.run.unused_budget import explain_unused_budget

    folder = out or settings.default_folder
    progress = terminal_progress()
    result = run_search(settings, folder, progress)
    progress.finish()
    page = write_report(folder)
    if not is_main_process():
        return
    if as_json:
        show_json(result.to_json())
        return
    lines = result_rows(result)
    print_table(lines[0], lines[1:])
    unused = explain_unused_budget(folder)
    if unused is not None:
        click.echo(advice_as_text(unused.text, unused.remedies))
    if result.latency is None:
        click.echo(unmeasured_as_text(result))
    network = "model.onnx" if result.is_exported else "weights.safetensors"
    click.echo(f"report: {page}\nnetwork: {folder / network}, {folder / 'architecture.json'}")


def _show_plan(constraints: tuple[str, ...], chosen: dict[str, Any], as_json: bool) -> None:
    """Show what a search would use."""
    from nascli.pipeline.run.plan import plan_search

    algorithm, preset = preset_of(constraints, chosen)
    plan = plan_search(
        algorithm,
        preset,
        space=chosen["spec"],
        data=chosen["data"],
        constraints=constraints,
        supernet=None if chosen["supernet"] is None else str(chosen["supernet"]),
        after=None if chosen["after"] is None else str(chosen["after"]),
        options=data_options_of(**{name: chosen[name] for name in DATA_OPTIONS}),
    )
    if as_json:
        show_json(plan.to_json())
        return
    kept = " and ".join(plan.constraints) or "without a constraint"
    title = f"{plan.algorithm} in {plan.space} on {plan.data}, {kept}; nothing was run"
    settings = [[name, value_as_text(value)] for name, value in plan.settings.items()]
    print_table(["setting", "value"], settings, title=title)
    if plan.figures:
        rows = [[name, value_as_text(value)] for name, value in plan.figures.items()]
        print_table(["what follows", "value"], rows)
    for recipe in plan.recipes:
        name = "a recipe of your own" if recipe.name is None else f"the recipe {recipe.name}"
        values = [[f"{recipe.group}.{field}", value_as_text(value)] for field, value in recipe.values.items()]
        print_table(["field", "value"], values, title=f"{recipe.group}: {name} (nascli recipes)")
    phases = [
        [
            phase.title,
            phase.group,
            str(phase.epochs),
            value_as_text(phase.steps),
            str(phase.trainings),
            phase.on,
        ]
        for phase in plan.phases
    ]
    images = plan.no_images
    if plan.images is not None:
        images = f"{plan.images:,} training images, {plan.held_out:,} held out"
    columns = ["what is trained", "recipe", "epochs", "steps", "trainings, at most", "images"]
    print_table(columns, phases, title=f"trainings: {images}")


@click.command()
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    required=True,
    help="Search once under this constraint: latency=6ms, ...",
)
@click.option("--constraint", "constraints", multiple=True, help="Keep this constraint in every search.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Keep the runs below this folder (default: runs/...)."
)
@search_options
@training_options
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
    target_values = {name: options.pop(name) for name in TARGET_OPTIONS}
    settings = [settings_of((budget, *constraints), target_values, {**options}) for budget in budgets]
    from nascli.pipeline.run.report import write_report
    from nascli.pipeline.run.sweep import run_sweep

    progress = terminal_progress()
    rows = run_sweep(budgets, settings, out, progress)
    progress.finish()
    for row in rows:
        write_report(row.result.folder)
    if not is_main_process():
        return
    if as_json:
        show_json([row.to_json() for row in rows])
        return
    columns = ["budget", "top-1 (95 %)", "measured", "MACs", "params", "feasible", "run"]
    print_table(columns, [_sweep_row(row) for row in rows])


def _sweep_row(row: SweepRow) -> list[str]:
    """A search of a sweep as the terminal shows it."""
    result, winner = row.result, row.result.winner
    low, high = winner.top1_interval
    return [
        row.budget,
        f"{winner.top1:.2%} [{low:.1%}, {high:.1%}]",
        _seconds(result.latency),
        format_count(winner.costs["macs"]),
        format_count(winner.costs["params"]),
        format_estimated_count(result.feasible_count, result.feasible_exact),
        str(result.folder),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_seconds(value)


def result_rows(result: SearchResult) -> list[list[str]]:
    """The trained networks of a search as the terminal shows them: a header, and one row for each."""
    names = {"random": "random feasible", "largest": "largest feasible"}
    networks = {"winner": result.winner, **{names.get(k, k): v for k, v in result.baselines.items()}}
    measured, predicted = result.latency is not None, result.winner.predicted_latency is not None
    counts = ["macs", "params"] if predicted else list(result.document["costs"])
    titles = {"macs": "MACs"}
    times = ["measured"] * measured + ["predicted"] * predicted
    header = ["network", *times, "top-1 (95 %)"]
    rows = [[*header, *(titles.get(name, name) for name in counts)]]
    for name, network in networks.items():
        low, high = network.top1_interval
        latency = None if network.latency is None else network.latency.seconds
        seconds = [_seconds(latency)] * measured + [_seconds(network.predicted_latency)] * predicted
        accuracy = f"{network.top1:.2%} [{low:.1%}, {high:.1%}]"
        counted = [format_count(network.costs[each]) for each in counts]
        rows.append([name, *seconds, accuracy, *counted])
    return rows


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write the comparison of several runs to this page."
)
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
