"""What is done with a found network: train, export, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nascli.commands.common import (
    completing,
    data_option,
    json_option,
    place_options,
    show_json,
    speaks,
    terminal_progress,
    where_of,
)


@click.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@data_option
@click.option(
    "--recipe",
    "recipe_name",
    default="small",
    show_default=True,
    shell_complete=completing("recipes"),
    help="small, or a paper's for ImageNet: spos, pcnas, nse.",
)
@click.option("--epochs", type=click.IntRange(1), help="Instead of the recipe's own number.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="Of the ONNX file.")
@click.option("--tensorboard", is_flag=True, help="Write logs for TensorBoard into the folder.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder of the training.")
@json_option
def train(
    architecture: Path,
    data: str,
    recipe_name: str,
    epochs: int | None,
    seed: int,
    batch: int,
    tensorboard: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Train an architecture's file from scratch; killed and run again, it goes on where it was.

    \b
    Example:
      nascli train runs/first/architecture.json --epochs 30 --out runs/first-trained
    """
    from nascli.pipeline.train.from_scratch import train_architecture
    from nascli.supernet.recipes.registry import recipe_of

    progress = terminal_progress()
    recipe = recipe_of(recipe_name, epochs)
    document = train_architecture(
        architecture,
        data,
        recipe,
        batch=batch,
        seed=seed,
        out=out,
        progress=progress,
        tensorboard=tensorboard,
    )
    progress.finish()
    if not speaks():
        return
    if as_json:
        show_json(document)
        return
    low, high = document["top1_interval"]
    click.echo(f"top-1 {document['top1']:.2%} [{low:.1%}, {high:.1%}] on the test part; {out}")


@click.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option(
    "--weights", required=True, type=click.Path(path_type=Path), help="weights.safetensors of a run."
)
@click.option(
    "--format",
    "form",
    default="onnx",
    show_default=True,
    type=click.Choice(["onnx", "pt2", "python", "tensorrt"]),
    help="pt2 is torch.export's; python is readable code.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The file to write.")
@click.option("--measure", "measured", is_flag=True, help="Then measure the network on the device.")
@click.option("--constraint", "constraints", multiple=True, help="With --measure: latency=8ms must hold.")
@place_options
@json_option
def export(
    architecture: Path,
    weights: Path,
    form: str,
    out: Path,
    measured: bool,
    constraints: tuple[str, ...],
    as_json: bool,
    **place: Any,
) -> None:
    """Write a trained architecture as ONNX, by torch.export, or as PyTorch code that needs no nascli.

    What the file computes is compared with the trained network before it is called done.

    \b
    Examples:
      nascli export runs/first/architecture.json --weights runs/first/weights.safetensors --format python --out net.py
      nascli export runs/first/architecture.json --weights runs/first/weights.safetensors --out net.onnx --measure
    """
    from nascli.pipeline.train.export import bounds_here, export_architecture, measured_export
    from nascli.units import format_seconds

    if constraints and not measured:
        raise click.UsageError("--constraint is held against a measurement: add --measure")
    where = where_of(**place)
    bounds = bounds_here(constraints, where)
    document = export_architecture(architecture, weights, form, where, out)
    if measured:
        progress = terminal_progress()
        document |= measured_export(architecture, bounds, where, progress)
        progress.finish()
    if as_json:
        show_json(document)
        return
    click.echo(f"{', '.join(document['files'])}: differs from torch by {document['largest_difference']:.2g}")
    if measured:
        low, high = document["measured_interval_s"]
        click.echo(
            f"measured {format_seconds(document['measured_latency_s'])} "
            f"[{format_seconds(low)}, {format_seconds(high)}] at 95 %"
        )


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
