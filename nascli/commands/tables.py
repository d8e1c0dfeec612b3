"""Latency tables: everything under `nascli lut`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nascli.commands.options import json_option, target_of, target_options
from nascli.commands.output import print_table, show_json
from nascli.units import printable

if TYPE_CHECKING:
    from nascli.pipeline.tables.inventory import OperatorRow


@click.group()
def lut() -> None:
    """List, show, check, exchange, and remove latency tables."""


@lut.command("list")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Use this store (default: the one that all projects share).",
)
@json_option
def lut_list(store: Path | None, as_json: bool) -> None:
    """List the tables of the store, one per setup.

    \b
    Example:
      nascli lut list
    """
    from nascli.paths import default_store
    from nascli.pipeline.tables.inventory import list_tables

    tables = list_tables(store or default_store())
    if as_json:
        show_json(tables)
        return
    keys = ["device", "runtime", "runtime_version", "precision", "batch", "threads", "mode", "operators"]
    print_table(keys, [[str(table.to_json()[key]) for key in keys] for table in tables])


@lut.command("show")
@target_options
@click.option("--networks", is_flag=True, help="Show whole networks too.")
@json_option
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="Write the table as a page instead: slowest operators, roofline, cliffs.",
)
def lut_show(networks: bool, html: Path | None, as_json: bool, **target_values: Any) -> None:
    """Show the figures of one table, slowest first.

    \b
    Examples:
      nascli lut show --device cpu --batch 16
      nascli lut show --device cpu --batch 16 --html table.html
    """
    from nascli.pipeline.tables.inventory import show_table
    from nascli.pipeline.tables.page import write_table_page

    if html is not None:
        page = write_table_page(*target_of(**target_values), html)
        if as_json:
            show_json({"page": str(page)})
        else:
            click.echo(str(page))
        return

    rows = show_table(*target_of(**target_values), networks=networks)
    if as_json:
        show_json(rows)
        return
    print_table(
        ["operator", "alone", "interval", "in context", "rounds", "macs"], [_cells(row) for row in rows]
    )


def _cells(row: OperatorRow) -> list[str]:
    from nascli.units import format_count, format_seconds

    return [
        row.operator,
        format_seconds(row.alone.seconds),
        f"±{row.alone.relative_width:.1%}" if row.has_interval else "unknown",
        "-" if row.inside is None else format_seconds(row.inside.seconds),
        str(row.alone.rounds),
        format_count(row.macs),
    ]


@lut.command("export")
@target_options
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Write the pack to this .parquet file."
)
@json_option
def lut_export(out: Path, as_json: bool, **target_values: Any) -> None:
    """Write a table with all its raw samples into one Parquet file.

    \b
    Example:
      nascli lut export --device cpu --batch 16 --out my-cpu.parquet
    """
    from nascli.pipeline.tables.exchange import export_table

    pack = export_table(*target_of(**target_values), out)
    if as_json:
        show_json(pack)
    else:
        click.echo(f"{pack.operators} operators, {pack.samples} samples in {out}")


@lut.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    default="pack",
    show_default=True,
    help="Read packs, or another tool's format: proxylessnas, ofa, nse, tinynas, fbnet, hw-nas-bench, trtexec, csv.",
)
@click.option("--device", help="Name the device of another tool's table, whose file does not say it.")
@click.option("--batch", type=click.IntRange(1), help="Name the batch of another tool's table.")
@click.option(
    "--threads",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Name the number of threads of another tool's table.",
)
@click.option(
    "--precision", default="fp32", show_default=True, help="Name the precision of another tool's table."
)
@click.option(
    "--runtime",
    default="unknown",
    show_default=True,
    help="Name the runtime that the other tool measured with.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Use this store (default: the one that all projects share).",
)
@json_option
def lut_import(
    *,
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
    from nascli.pipeline.tables.exchange import import_foreign_files, import_packs

    path = store or default_store()
    if form == "pack":
        imported = import_packs(files, path)
    else:
        imported = import_foreign_files(
            files,
            form,
            path,
            device=device,
            batch=batch,
            threads=threads,
            precision=precision,
            runtime=runtime,
        )
    if as_json:
        show_json(imported)
        return
    for summary in imported:
        click.echo(
            f"{summary.file}: {summary.new} of {summary.samples} samples were new"
            + (f"; left out: {summary.left_out}" if summary.left_out else "")
        )


@lut.command("push")
@click.argument("url")
@target_options
@json_option
def lut_push(url: str, as_json: bool, **target_values: Any) -> None:
    """Write a table's pack to a URL: file://, s3:// or gs://.

    \b
    Example:
      nascli lut push s3://team-tables/cpu.parquet --device cpu --batch 16
    """
    from nascli.pipeline.tables.exchange import push

    sent = push(*target_of(**target_values), url)
    if as_json:
        show_json(sent)
    else:
        click.echo(f"{sent.pack.operators} operators, {sent.pack.samples} samples in {printable(url)}")


@lut.command("pull")
@click.argument("url")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Use this store (default: the one that all projects share).",
)
@json_option
def lut_pull(url: str, store: Path | None, as_json: bool) -> None:
    """Import the pack at a URL: file://, http(s)://, s3:// or gs://. Its digest is checked first.

    \b
    Example:
      nascli lut pull https://tables.example.org/titanxp.parquet
    """
    from nascli.paths import default_store
    from nascli.pipeline.tables.exchange import pull

    received = pull(url, store or default_store())
    if as_json:
        show_json(received)
    else:
        click.echo(f"{printable(url)}: {received.new} of {received.pack.samples} samples were new")


@lut.command("merge")
@click.argument("packs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Write the pack to this .parquet file."
)
@json_option
def lut_merge(packs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Merge packs of one setup; refuses to mix what differs.

    \b
    Example:
      nascli lut merge monday.parquet tuesday.parquet --out both.parquet
    """
    from nascli.pipeline.tables.exchange import merge_packs

    merged = merge_packs(packs, out)
    if as_json:
        show_json(merged)
    else:
        click.echo(f"{merged.operators} operators, {merged.samples} samples in {out}")


@lut.command("diff")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--most", default=20, show_default=True, type=click.IntRange(1), help="Show so many operators.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the difference to this .svg file too.")
@json_option
def lut_diff(first: Path, second: Path, most: int, picture: Path | None, as_json: bool) -> None:
    """Show how two packs differ: a new driver, another machine, another batch.

    \b
    Example:
      nascli lut diff old-driver.parquet new-driver.parquet
    """
    from nascli.pipeline.tables.exchange import diff_packs, draw_difference
    from nascli.units import format_seconds

    difference = diff_packs(first, second)
    if picture is not None:
        draw_difference(difference, first.stem, second.stem, picture)
    if as_json:
        show_json(difference)
        return
    for field in difference.setup:
        click.echo(f"differs in {field}")
    print_table(
        ["operator", "first", "second", "ratio", "apart"],
        [
            [
                row.label,
                format_seconds(row.first.seconds),
                format_seconds(row.second.seconds),
                f"{row.ratio:.3f}",
                "yes" if row.differs else "",
            ]
            for row in difference.rows[:most]
        ],
    )
    click.echo(
        f"{len(difference.rows)} operators in both, median ratio {difference.median_ratio:.3f}, "
        f"{sum(row.differs for row in difference.rows)} with intervals apart; "
        f"{len(difference.only_first)} only in the first, {len(difference.only_second)} only in the second"
    )


@lut.command("check")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Use this store (default: the one that all projects share).",
)
@json_option
def lut_check(store: Path | None, as_json: bool) -> None:
    """Audit the store: damage, impossible values, operators that disagree with themselves, stale versions.

    Exits with 1 where something is damaged; warnings leave it at 0.

    \b
    Example:
      nascli lut check
    """
    from nascli.paths import default_store
    from nascli.pipeline.tables.inventory import check_store

    findings = check_store(store or default_store())
    if as_json:
        show_json([asdict(finding) for finding in findings])
    elif findings:
        rows = [[finding.severity, finding.what, finding.setup] for finding in findings]
        print_table(["severity", "what", "setup"], rows)
    else:
        click.echo("nothing is wrong")
    if any(finding.severity == "damage" for finding in findings):
        sys.exit(1)


@lut.command("remove")
@target_options
@click.option("--yes", is_flag=True, help="Delete without asking.")
@json_option
def lut_remove(yes: bool, as_json: bool, **target_values: Any) -> None:
    """Delete a table and its samples from the store.

    \b
    Example:
      nascli lut remove --device cpu --batch 16
    """
    from nascli.pipeline.tables.inventory import remove_table, table_meant

    spec, execution = target_of(**target_values)
    setup = table_meant(spec, execution)
    if not yes:
        click.confirm(f"delete the table of {setup.label} from {execution.store}?", abort=True)
    removed = remove_table(execution.store, setup)
    if as_json:
        show_json({"samples_removed": removed, "setup": setup.to_json()})
    else:
        click.echo(f"{removed} samples of {setup.label} removed")
