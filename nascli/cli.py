"""The command line: each command parses, calls one function, and shows what came back."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from nascli import __version__
from nascli.errors import NascliError

if TYPE_CHECKING:
    from nascli.pipeline.measuring import Where
    from nascli.pipeline.settings import SearchSettings
    from nascli.terminal import TerminalProgress

F = TypeVar("F", bound=Callable[..., Any])


class _Group(click.Group):
    """Turns domain errors into two lines and exit 1; anything else is a bug and may show a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NascliError as error:
            if ctx.params.get("debug"):
                raise
            _stop(str(error), 1)
        except KeyboardInterrupt:
            _stop("interrupted; what was measured and evaluated is kept, run the same command to go on", 130)
        except (OSError, MemoryError) as error:
            if ctx.params.get("debug"):
                raise
            _stop(f"{type(error).__name__}: {error}", 1)


def _stop(text: str, status: int) -> None:
    first, _, rest = text.partition("\n")
    click.echo(click.style("error: ", fg="red") + _printable(first), err=True)
    if rest:
        click.echo(_printable(rest), err=True)
    sys.exit(status)


def _printable(text: str) -> str:
    # Names may come from files of others; control characters must not reach the terminal.
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _progress() -> TerminalProgress:
    from rich.console import Console

    from nascli.terminal import TerminalProgress

    return TerminalProgress(Console(stderr=True))


def _show_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _table(columns: list[str], rows: list[list[str]], title: str | None = None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    # Piped output must not be cut to 80 columns.
    if not console.is_terminal:
        console = Console(width=200)
    if title is not None:
        # Not the table's own title, which would be folded to the table's width.
        console.print(Text(_printable(title)), soft_wrap=True)
    table = Table()
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(row[index][:1].isdigit() for row in rows)
        table.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
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
        click.option("--precision", default="fp32", show_default=True),
        click.option(
            "--threads", default=1, show_default=True, type=click.IntRange(1), help="Threads per operator."
        ),
        click.option("--batch", default=16, show_default=True, type=click.IntRange(1)),
        click.option("--runtime", default="auto", show_default=True, help="Such as ort-cpu."),
        click.option("--device", default="cpu", show_default=True, help="cpu, or a card: nascli devices."),
    ):
        function = option(function)
    return function


def _where(store: Path | None, clock: str | None, **place: Any) -> Where:
    from nascli.paths import default_store
    from nascli.pipeline.measuring import Where, clock_of

    mhz = None if clock is None else clock_of(clock, place["device"])
    return Where(store=store or default_store(), clock_mhz=mhz, **place)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nascli")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option(
    "--use",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Your own spaces and operators: a .py file (executed) or a .toml file.",
)
def main(debug: bool, files: tuple[Path, ...]) -> None:
    """Networks that fit a device: measure operators once, search under hard budgets, verify the winner.

    \b
    Example:
      nascli search --constraint latency=8ms
    """
    if files:
        from nascli.spaces.catalog import use_file

        for file in files:
            use_file(file)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what runs here, and what to install for more.

    \b
    Example:
      nascli doctor
    """
    from nascli.pipeline.doctor import examine

    checks = examine()
    if as_json:
        _show_json(
            [{"name": c.name, "works": c.works, "detail": c.detail, "advice": c.advice} for c in checks]
        )
        return
    rows = [[c.name, "yes" if c.works else "no", c.detail, c.advice] for c in checks]
    _table(["part", "works", "what", "to do"], rows)


@main.command()
@click.argument("name", required=False)
@json_option
def devices(name: str | None, as_json: bool) -> None:
    """List devices: what is here, and the cards that have a profile.

    \b
    Example:
      nascli devices titanxp
    """
    from nascli.pipeline.listing import describe_device, list_devices

    if name is None:
        known = list_devices()
        if as_json:
            _show_json(known)
        else:
            rows = [[d["key"], d["title"], "yes" if d["here"] else "no"] for d in known]
            _table(["device", "title", "here"], rows)
        return
    facts = describe_device(name)
    if as_json:
        _show_json(facts)
    else:
        _table(["fact", "value"], [[key, str(value)] for key, value in facts.items()])


@main.command()
@click.argument("name", required=False)
@json_option
def spaces(name: str | None, as_json: bool) -> None:
    """List search spaces, or show one in full.

    \b
    Example:
      nascli spaces proxyless-mini:resolution=32
    """
    from nascli.pipeline.listing import describe_space, list_spaces

    if name is None:
        known = list_spaces()
        if as_json:
            _show_json(known)
        else:
            _table(["space", "about"], [[s["name"], s["about"]] for s in known])
        return
    document = describe_space(name)
    if as_json:
        _show_json(document)
        return
    _table(
        ["block", "input", "output", "candidates"],
        [[b["name"], b["input"], b["output"], ", ".join(b["candidates"])] for b in document["blocks"]],
        title=f"{document['spec']}: {document['size_text']} architectures, "
        f"{document['macs_text']} MACs, {document['params_text']} parameters",
    )


@main.command()
@click.argument("what")
@click.option("--layers", is_flag=True, help="Show each block.")
@click.option("--check", is_flag=True, help="Count with fvcore too, and explain the difference.")
@json_option
def count(what: str, layers: bool, check: bool, as_json: bool) -> None:
    """Count MACs, parameters and bytes of a network, or their range over a space.

    WHAT is a reference network's name, an architecture's file, an ONNX file, or a space.

    \b
    Example:
      nascli count mobilenetv2 --check
      nascli count runs/first/architecture.json
    """
    from nascli.pipeline.counting import count_target

    document = count_target(what, check=check)
    if as_json:
        _show_json(document["document"])
        return
    _table(["count", "value"], [[k, v] for k, v in document["shown"].items()], title=document["title"])
    if layers and document["layers"]:
        _table(["block", "operator", "output", "MACs", "params"], document["layers"])
    for line in document["remarks"]:
        click.echo(line)


@main.command()
@click.option("--space", "spec", default="proxyless-mini", show_default=True)
@click.option(
    "--network",
    type=click.Path(path_type=Path),
    help="An architecture's .json or an .onnx file: measure its own layers instead of a space's.",
)
@click.option("--older-than", "age", help="Measure anew what was measured longer ago than this: 30d, 1h.")
@click.option("--unstable", is_flag=True, help="Measure anew what did not settle.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Order of the measurements."
)
@click.option("--host", metavar="USER@MACHINE", help="Write a plan to be measured there, and the commands.")
@click.option("--plan", type=click.Path(path_type=Path), help="Measure what such a plan says.")
@click.option(
    "--pack", type=click.Path(path_type=Path), help="With --plan: write the figures into this file."
)
@place_options
@json_option
def profile(
    spec: str,
    network: Path | None,
    age: str | None,
    unstable: bool,
    seed: int,
    host: str | None,
    plan: Path | None,
    pack: Path | None,
    as_json: bool,
    **place: Any,
) -> None:
    """Measure the operators of a space, or the layers of a network, that the store lacks.

    Killed and run again, it goes on where it was.

    \b
    Examples:
      nascli profile --device cpu --space proxyless-mini --batch 16
      nascli profile --device cpu --network model.onnx --batch 1
      nascli profile --device titanxp --host user@lab-machine
      nascli profile --plan titanxp-proxyless-mini.plan.json --pack titanxp.parquet
    """
    from nascli.pipeline.profiling import profile_target
    from nascli.pipeline.remote import run_plan, write_plan

    if host is not None and plan is not None:
        raise click.UsageError("--host writes a plan and --plan measures one: give one of them")
    if pack is not None and plan is None:
        raise click.UsageError("--pack goes with --plan; without a plan: nascli lut export")
    if host is not None:
        written = write_plan(spec, network, _where(**place), host, Path.cwd())
        if as_json:
            _show_json(written)
            return
        click.echo(f"{written['models']} models to measure are in {written['plan']}. Next:")
        for command in written["commands"]:
            click.echo(f"  {command}")
        return
    progress = _progress()
    if plan is not None:
        document = run_plan(plan, pack, _where(**place), seed=seed, progress=progress)
    else:
        document = profile_target(
            spec, network, _where(**place), age=age, unstable=unstable, seed=seed, progress=progress
        )
    progress.finish()
    if as_json:
        _show_json(document)
        return
    unsettled = len(document["unstable"])
    click.echo(
        f"{document['operators']} models in {document['store']}; {unsettled} did not settle within "
        f"{document['interval_target']:.0%}"
        + (": nascli profile --unstable measures them anew" if unsettled else "")
    )


@main.group()
def lut() -> None:
    """Look at latency tables."""


@lut.command("list")
@click.option("--store", type=click.Path(path_type=Path), help="The store's file.")
@json_option
def lut_list(store: Path | None, as_json: bool) -> None:
    """List the tables of the store, one per setup.

    \b
    Example:
      nascli lut list
    """
    from nascli.paths import default_store
    from nascli.pipeline.listing import list_tables

    tables = list_tables(store or default_store())
    if as_json:
        _show_json(tables)
        return
    keys = ["device", "runtime", "runtime_version", "precision", "batch", "threads", "mode", "operators"]
    _table(keys, [[str(t[key]) for key in keys] for t in tables])


@lut.command("show")
@place_options
@click.option("--networks", is_flag=True, help="Show whole networks too.")
@json_option
def lut_show(networks: bool, as_json: bool, **place: Any) -> None:
    """Show the figures of one table, slowest first.

    \b
    Example:
      nascli lut show --device cpu --batch 16
    """
    from nascli.pipeline.listing import show_table

    rows = show_table(_where(**place), networks)
    if as_json:
        _show_json(rows)
        return
    keys = ["operator", "alone", "interval", "in context", "rounds", "macs"]
    _table(keys, [[str(row["shown"][key]) for key in keys] for row in rows])


@lut.command("export")
@place_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The pack to write, .parquet.")
@json_option
def lut_export(out: Path, as_json: bool, **place: Any) -> None:
    """Write a table with all its raw samples into one Parquet file.

    \b
    Example:
      nascli lut export --device cpu --batch 16 --out my-cpu.parquet
    """
    from nascli.pipeline.tables import export_table

    document = export_table(_where(**place), out)
    if as_json:
        _show_json(document)
    else:
        click.echo(f"{document['operators']} operators, {document['samples']} samples in {out}")


@lut.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default="pack",
    show_default=True,
    help="pack, or another tool's: proxylessnas, ofa, nse, tinynas, fbnet, hw-nas-bench, trtexec, csv.",
)
@click.option("--device", help="The device of another tool's table; its file does not say.")
@click.option("--batch", type=click.IntRange(1), help="The batch of another tool's table.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@click.option("--precision", default="fp32", show_default=True)
@click.option("--runtime", default="unknown", show_default=True, help="What the other tool measured with.")
@click.option("--store", type=click.Path(path_type=Path), help="The store's file.")
@json_option
def lut_import(
    files: tuple[Path, ...],
    form: str,
    device: str | None,
    batch: int | None,
    threads: int,
    precision: str,
    runtime: str,
    store: Path | None,
    as_json: bool,
) -> None:
    """Add packs to the store, or tables in the formats of other tools.

    What is there already is not added twice. Several repeats of another tool's table are several samples.

    \b
    Examples:
      nascli lut import titanxp.parquet
      nascli lut import run1.dump run2.dump --format nse --device titanxp --batch 128
    """
    from nascli.paths import default_store
    from nascli.pipeline.tables import import_foreign, import_packs

    place = store or default_store()
    if form == "pack":
        documents = import_packs(files, place)
    else:
        documents = import_foreign(files, form, device, batch, threads, precision, runtime, place)
    if as_json:
        _show_json(documents)
        return
    for document in documents:
        click.echo(
            f"{document['file']}: {document['new']} of {document['samples']} samples were new"
            + (f"; left out: {document['left_out']}" if document.get("left_out") else "")
        )


@lut.command("merge")
@click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The pack to write.")
@json_option
def lut_merge(packs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Merge packs of one setup; refuses to mix what differs.

    \b
    Example:
      nascli lut merge monday.parquet tuesday.parquet --out both.parquet
    """
    from nascli.pipeline.tables import merge_packs

    document = merge_packs(packs, out)
    if as_json:
        _show_json(document)
    else:
        click.echo(f"{document['operators']} operators, {document['samples']} samples in {out}")


@lut.command("diff")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--most", default=20, show_default=True, type=click.IntRange(1), help="Rows to show.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw it too, as an .svg file.")
@json_option
def lut_diff(first: Path, second: Path, most: int, picture: Path | None, as_json: bool) -> None:
    """Show how two packs differ: a new driver, another machine, another batch.

    \b
    Example:
      nascli lut diff old-driver.parquet new-driver.parquet
    """
    from nascli.pipeline.tables import diff_packs, draw_diff

    document = diff_packs(first, second)
    if picture is not None:
        draw_diff(document, first.stem, second.stem, picture)
    if as_json:
        _show_json(document)
        return
    for line in document["setup"]:
        click.echo(f"differs in {line}")
    keys = ["operator", "first", "second", "ratio", "apart"]
    _table(keys, [[row["shown"][key] for key in keys] for row in document["rows"][:most]])
    click.echo(
        f"{len(document['rows'])} operators in both, median ratio {document['median_ratio']:.3f}, "
        f"{sum(row['apart'] for row in document['rows'])} with intervals apart; "
        f"{len(document['only_first'])} only in the first, {len(document['only_second'])} only in the second"
    )


@lut.command("check")
@click.option("--store", type=click.Path(path_type=Path), help="The store's file.")
@json_option
def lut_check(store: Path | None, as_json: bool) -> None:
    """Audit the store: damage, impossible values, operators that disagree with themselves, stale versions.

    Exits with 1 where something is damaged; warnings leave it at 0.

    \b
    Example:
      nascli lut check
    """
    from nascli.paths import default_store
    from nascli.pipeline.tables import check_store

    findings = check_store(store or default_store())
    if as_json:
        _show_json(findings)
    elif findings:
        keys = ["severity", "what", "setup"]
        _table(keys, [[finding[key] for key in keys] for finding in findings])
    else:
        click.echo("nothing is wrong")
    if any(finding["severity"] == "damage" for finding in findings):
        sys.exit(1)


@lut.command("remove")
@place_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def lut_remove(yes: bool, as_json: bool, **place: Any) -> None:
    """Delete a table and its samples from the store.

    \b
    Example:
      nascli lut remove --device cpu --batch 16
    """
    from nascli.pipeline.tables import remove_table

    where = _where(**place)
    if not yes:
        click.confirm(
            f"delete the table of {where.device}, batch {where.batch}, from {where.store}?", abort=True
        )
    removed = remove_table(where)
    if as_json:
        _show_json({"samples_removed": removed})
    else:
        click.echo(f"{removed} samples removed")


@main.command()
@click.option("--space", "spec", default="proxyless-mini", show_default=True)
@click.option(
    "--networks", default=24, show_default=True, type=click.IntRange(8), help="Whole networks to measure."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@place_options
@json_option
def calibrate(spec: str, networks: int, seed: int, as_json: bool, **place: Any) -> None:
    """Measure whole networks that cover a space, and correct the sum of operators by them.

    Predictions for the space are calibrated from then on, and have intervals. Profiles what is missing first;
    killed and run again, it goes on where it was.

    \b
    Example:
      nascli calibrate --device cpu --space proxyless-mini --batch 16
    """
    from nascli.pipeline.calibrating import calibrate_space
    from nascli.spaces import load_space

    progress = _progress()
    document = calibrate_space(
        load_space(spec), _where(**place), networks=networks, seed=seed, progress=progress
    )
    progress.finish()
    if as_json:
        _show_json(document)
        return
    rows = [
        [
            name,
            f"{document[key]['bias']:+.1%}",
            f"{document[key]['mean_absolute']:.1%}",
            f"{document[key]['within_5_percent']:.0%}",
        ]
        for name, key in (("plain sum", "plain"), ("calibrated, each network left out", "calibrated"))
    ]
    _table(["model", "bias", "mean abs. error", "within 5 %"], rows)
    click.echo(
        f"{document['networks']} networks of {document['space']}; "
        f"{document['confidence']:.0%} interval: ±{document['half_width']:.1%}"
        if document["half_width"] is not None
        else f"{document['networks']} networks are too few for an interval of {document['confidence']:.0%}"
    )
    if document["contradicting"]:
        shown = "; ".join(str(codes) for codes in document["contradicting"])
        click.echo(f"the other networks contradict the figures of these codes: {shown}")


@main.command()
@click.argument("network", type=click.Path(path_type=Path))
@click.option("--explain", is_flag=True, help="Show each block's share.")
@click.option(
    "--confidence", default=0.9, show_default=True, type=click.FloatRange(0, 1, min_open=True, max_open=True)
)
@place_options
@json_option
def predict(network: Path, explain: bool, confidence: float, as_json: bool, **place: Any) -> None:
    """Predict the latency of an architecture's file or an ONNX model from the table.

    Calibrated, with an interval, where `nascli calibrate` measured networks of the space. For a card without
    a table the figure is predicted from its data sheet, and says so.

    \b
    Example:
      nascli predict --device cpu runs/first/architecture.json --explain
    """
    from nascli.pipeline.predicting import predict_network
    from nascli.units import format_seconds

    document = predict_network(network, _where(**place), confidence)
    if as_json:
        _show_json(document)
        return
    interval = document["interval_s"]
    shown = format_seconds(document["latency_s"])
    if interval is not None:
        ends = ", ".join(format_seconds(end) for end in interval)
        shown += f" [{ends}] at {document['confidence']:.0%}"
    click.echo(f"{shown}: {document['model']}")
    if document["kind"] == "predicted":
        click.echo("predicted, not measured: import or measure a table for a figure to rely on")
    elif document["extrapolated"]:
        click.echo("beyond what was calibrated on: the interval may be too narrow")
    if document["kind"] == "measured":
        click.echo("no interval: whole networks were not measured for it (nascli calibrate)")
    if not explain:
        return
    largest = max(part["share"] for part in document["parts"])
    rows = [
        [
            part["block"],
            part["operator"],
            format_seconds(part["seconds"]),
            f"{part['share']:.1%}",
            "█" * max(1, round(24 * part["share"] / largest)) if part["share"] else "",
            part["kind"],
        ]
        for part in document["parts"]
    ]
    _table(["block", "operator", "latency", "share", "", "kind"], rows)


@main.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@place_options
@json_option
def measure(architecture: Path, as_json: bool, **place: Any) -> None:
    """Measure an architecture's file or an ONNX model end to end.

    \b
    Example:
      nascli measure --device cpu runs/first/architecture.json
    """
    from nascli.pipeline.measuring import measure_file
    from nascli.units import format_seconds

    progress = _progress()
    figure = measure_file(architecture, _where(**place), progress)
    progress.finish()
    if as_json:
        interval = [figure.low, figure.high]
        _show_json({"measured_latency_s": figure.seconds, "interval_s": interval, "rounds": figure.rounds})
        return
    click.echo(
        f"{format_seconds(figure.seconds)} [{format_seconds(figure.low)}, {format_seconds(figure.high)}] "
        f"at 95 %, {figure.rounds} rounds"
    )


def search_options(function: F) -> F:
    """What decides a search beside its constraints and place."""
    for option in (
        click.option(
            "--confidence",
            type=click.FloatRange(0, 1, min_open=True, max_open=True),
            help="Search only where the calibrated model is this sure that the latency budget is kept.",
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
            help="How much is spent: small (a CPU, small images) or paper (the papers' ImageNet settings).",
        ),
        click.option(
            "--supernet",
            type=click.Path(path_type=Path),
            help="A checkpoint of `nascli supernet train`, instead of training one.",
        ),
        click.option(
            "--after",
            type=click.Path(path_type=Path),
            help="NSE: a finished run, whose last operations the space nse-second inherits.",
        ),
        click.option("--seed", default=0, show_default=True, type=click.IntRange(0)),
        click.option("--data", default="digits", show_default=True, help="A data set, or NAME:FOLDER."),
        click.option("--space", "spec", default="proxyless-mini", show_default=True),
        click.option(
            "--algorithm",
            default="spos",
            show_default=True,
            help="spos, pcnas, nse, nss, autospace, guided, evolution or random.",
        ),
    ):
        function = option(function)
    return function


def _settings(constraints: tuple[str, ...], place: dict[str, Any], chosen: dict[str, Any]) -> SearchSettings:
    from nascli.pipeline.settings import SearchSettings, effort_of

    effort = effort_of(chosen["preset"], chosen["algorithm"]).overridden(
        population=chosen["population"],
        generations=chosen["generations"],
        evaluations=chosen["evaluations"],
        supernet_epochs=chosen["supernet_epochs"],
        retrain_epochs=chosen["retrain_epochs"],
    )
    settings = SearchSettings(
        chosen["spec"],
        chosen["data"],
        constraints,
        _where(**place),
        chosen["algorithm"],
        chosen["seed"],
        effort,
        chosen["confidence"],
        None if chosen["supernet"] is None else str(chosen["supernet"]),
        None if chosen["after"] is None else str(chosen["after"]),
    )
    settings.parsed_constraints()
    return settings


_PLACE = (
    "device", "runtime", "batch", "threads", "precision", "store", "cuda_driver", "cuda_graph", "rotate", "clock",
)  # fmt: skip


@main.command()
@click.option("--constraint", "constraints", multiple=True, required=True, help="latency=8ms, macs<=30M, ...")
@click.option("--out", type=click.Path(path_type=Path), help="The run's folder (default: runs/...).")
@search_options
@place_options
@json_option
def search(constraints: tuple[str, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Find the most accurate network within a budget, and verify it on the device.

    Profiles what is missing first. Killed and run again, it goes on where it was.

    \b
    Examples:
      nascli search --constraint latency=8ms --constraint "macs<=30M"
      nascli search --algorithm pcnas --space pcnas-small-mini --constraint latency=10ms
      nascli search --algorithm nse --space nse-27-mini --constraint "macs<=4M"
      nascli search --space spos-resnet18-bits-mini --constraint "bitops<=40M"
    """
    from nascli.pipeline.settings import default_out

    place = {name: options.pop(name) for name in _PLACE}
    settings = _settings(constraints, place, options)
    from nascli.pipeline.reporting import result_lines, write_report
    from nascli.pipeline.searching import run_search

    folder = out or default_out(settings)
    progress = _progress()
    result = run_search(settings, folder, progress)
    progress.finish()
    if result["measured_latency_s"] is None:
        from nascli.pipeline.counted_search import counted_lines

        if as_json:
            _show_json(result)
        else:
            lines = counted_lines(result)
            _table(lines[0], lines[1:])
            click.echo(f"network: {folder / 'weights.safetensors'}, {folder / 'architecture.json'}")
        return
    page = write_report(folder)
    if as_json:
        _show_json(result)
        return
    lines = result_lines(result)
    _table(lines[0], lines[1:])
    click.echo(f"report: {page}\nnetwork: {folder / 'model.onnx'}, {folder / 'architecture.json'}")


@main.command()
@click.option("--budget", "budgets", multiple=True, required=True, help="One search each: latency=6ms, ...")
@click.option("--constraint", "constraints", multiple=True, help="Holds in every search.")
@click.option("--out", type=click.Path(path_type=Path), help="The folder of the runs (default: runs/...).")
@search_options
@place_options
@json_option
def sweep(
    budgets: tuple[str, ...], constraints: tuple[str, ...], out: Path | None, as_json: bool, **options: Any
) -> None:
    """Search one space under several budgets on one supernet (SPOS, Table 5).

    \b
    Example:
      nascli sweep --budget latency=6ms --budget latency=8ms --budget "macs<=20M"
    """
    place = {name: options.pop(name) for name in _PLACE}
    settings = [_settings((budget, *constraints), place, options) for budget in budgets]
    from nascli.pipeline.reporting import write_report
    from nascli.pipeline.sweeping import run_sweep

    progress = _progress()
    rows = run_sweep(budgets, settings, out, progress)
    progress.finish()
    for row in rows:
        write_report(Path(row["run"]))
    if as_json:
        _show_json(rows)
        return
    keys = ["budget", "top-1 (95 %)", "measured", "MACs", "params", "feasible", "run"]
    _table(keys, [[str(row["shown"][key]) for key in keys] for row in rows])


@main.group()
def supernet() -> None:
    """Train supernets that several searches share."""


@supernet.command("train")
@click.option("--space", "spec", default="proxyless-mini", show_default=True)
@click.option("--data", default="digits", show_default=True, help="A data set, or NAME:FOLDER.")
@click.option("--epochs", default=14, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--preset", default="small", show_default=True, help="The recipe: small or paper.")
@click.option("--within", help="Draw paths uniformly over bins of a window: '290M<=macs<=360M'.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The checkpoint to write.")
@json_option
def supernet_train(
    spec: str, data: str, epochs: int, seed: int, preset: str, within: str | None, out: Path, as_json: bool
) -> None:
    """Train the supernet of a space; killed and run again, it goes on where it was.

    Several processes under torchrun train it together.

    \b
    Examples:
      nascli supernet train --space spos-mini --out spos.safetensors
      torchrun --nproc-per-node 2 -m nascli supernet train --space spos-mini --out spos.safetensors
    """
    from nascli.pipeline.sweeping import train_supernet

    progress = _progress()
    document = train_supernet(spec, data, epochs, seed, preset, out, progress, within)
    progress.finish()
    if as_json:
        _show_json(document)
    else:
        click.echo(f"{document['steps']} steps; {out}")


@main.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option("--data", default="digits", show_default=True, help="A data set, or NAME:FOLDER.")
@click.option(
    "--recipe",
    "recipe_name",
    default="small",
    show_default=True,
    help="small, or a paper's for ImageNet: spos, pcnas, nse.",
)
@click.option("--epochs", type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="Of the ONNX file.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder of the training.")
@json_option
def train(
    architecture: Path,
    data: str,
    recipe_name: str,
    epochs: int | None,
    seed: int,
    batch: int,
    out: Path,
    as_json: bool,
) -> None:
    """Train an architecture's file from scratch; killed and run again, it goes on where it was.

    \b
    Example:
      nascli train runs/first/architecture.json --epochs 30 --out runs/first-trained
    """
    from nascli.pipeline.handing_over import recipe_of, train_architecture

    progress = _progress()
    recipe = recipe_of(recipe_name, epochs)
    document = train_architecture(
        architecture, data, recipe, batch=batch, seed=seed, out=out, progress=progress
    )
    progress.finish()
    if as_json:
        _show_json(document)
        return
    low, high = document["top1_interval"]
    click.echo(f"top-1 {document['top1']:.2%} [{low:.1%}, {high:.1%}] on the test part; {out}")


@main.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path), help="weights.safetensors of a run."
)
@click.option(
    "--format", "form", default="onnx", show_default=True, help="onnx, pt2 (torch.export) or python."
)
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@json_option
def export(architecture: Path, weights: Path, form: str, batch: int, out: Path, as_json: bool) -> None:
    """Write a trained architecture as ONNX, by torch.export, or as PyTorch code that needs no nascli.

    What the file computes is compared with the trained network before it is called done.

    \b
    Example:
      nascli export runs/first/architecture.json --weights runs/first/weights.safetensors --format python --out net.py
    """
    from nascli.pipeline.handing_over import export_architecture

    document = export_architecture(architecture, weights, form, batch, out)
    if as_json:
        _show_json(document)
    else:
        click.echo(
            f"{', '.join(document['files'])}: differs from torch by {document['largest_difference']:.2g}"
        )


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@json_option
def report(run: Path, as_json: bool) -> None:
    """Write the report of a finished run: one HTML file that opens offline.

    \b
    Example:
      nascli report runs/first
    """
    from nascli.pipeline.reporting import write_report

    page = write_report(run)
    if as_json:
        _show_json({"report": str(page)})
    else:
        click.echo(str(page))


if __name__ == "__main__":
    main()
