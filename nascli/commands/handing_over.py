"""What is done with a found network: train, export, report."""

from __future__ import annotations

from pathlib import Path

import click

from nascli.commands.common import json_option, show_json, terminal_progress


@click.command()
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
    from nascli.pipeline.handing_over import train_architecture
    from nascli.pipeline.recipes import recipe_of

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
    help="onnx, pt2 (torch.export), python or tensorrt.",
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
        show_json(document)
    else:
        click.echo(
            f"{', '.join(document['files'])}: differs from torch by {document['largest_difference']:.2g}"
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
    from nascli.pipeline.reporting import write_comparison, write_report

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
