"""The commands train, export, and supernet train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nascli.commands.options import (
    completing,
    data_options,
    data_options_of,
    feed_of,
    json_option,
    space_option,
    target_of,
    target_options,
    teacher_of,
    teacher_options,
    training_of,
    training_options,
    values_option,
)
from nascli.commands.output import is_main_process, show_json, terminal_progress

recipe_changes_option = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="recipe.NAME=VALUE",
    help="Change a field of the recipe: recipe.rate=0.4.",
)


@click.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@data_options
@click.option(
    "--recipe",
    "recipe_name",
    default="small",
    show_default=True,
    shell_complete=completing("recipes"),
    help="Train by this recipe (nascli recipes), or by your own: FILE.toml.",
)
@recipe_changes_option
@click.option("--epochs", type=click.IntRange(1), help="Train for so many epochs instead of the recipe's.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed everything that is random."
)
@click.option(
    "--batch",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="Write the ONNX file for so many samples.",
)
@teacher_options
@click.option(
    "--train-on",
    default="train",
    show_default=True,
    type=click.Choice(["train", "all"]),
    help="Train on the training part, or on all images but the test part.",
)
@click.option("--tensorboard", is_flag=True, help="Write logs for TensorBoard into the folder.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Keep the training in this folder."
)
@training_options
@json_option
def train(
    *,
    architecture: Path,
    data: str,
    recipe_name: str,
    changes: tuple[str, ...],
    epochs: int | None,
    seed: int,
    batch: int,
    train_on: str,
    tensorboard: bool,
    out: Path,
    as_json: bool,
    **values: Any,
) -> None:
    """Train an architecture's file from scratch; killed and run again, it goes on where it was.

    \b
    Examples:
      nascli train runs/first/architecture.json --epochs 30 --out runs/first-trained
      nascli train small.json --teacher runs/large/architecture.json --distil soft --out runs/taught
      nascli train runs/first/architecture.json --recipe modern --set recipe.rate=0.1 --out runs/first-modern
    """
    from nascli.pipeline.train.from_scratch import train_architecture

    progress = terminal_progress()
    result = train_architecture(
        architecture,
        data,
        recipe_name,
        epochs=epochs,
        batch=batch,
        seed=seed,
        out=out,
        progress=progress,
        tensorboard=tensorboard,
        training=training_of(values),
        teacher=teacher_of(values),
        changes=changes,
        options=data_options_of(**values),
        train_on=train_on,
    )
    progress.finish()
    if not is_main_process():
        return
    if as_json:
        show_json(result.to_json())
        return
    click.echo(f"top-1 {result.top1:.2%} [{result.low:.1%}, {result.high:.1%}] on the test part; {out}")


@click.command()
@click.argument("architecture", type=click.Path(path_type=Path))
@click.option(
    "--weights",
    required=True,
    type=click.Path(path_type=Path),
    help="Take the weights from a run's weights.safetensors.",
)
@click.option(
    "--format",
    "form",
    default="onnx",
    show_default=True,
    type=click.Choice(["onnx", "pt2", "python", "tensorrt"]),
    help="Write ONNX, torch.export's pt2, readable Python code, or a TensorRT engine.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Write this file.")
@click.option("--measure", "measured", is_flag=True, help="Measure the network on the device afterwards.")
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    help="Require that what --measure finds keeps this: latency=8ms.",
)
@values_option
@target_options
@json_option
def export(
    architecture: Path,
    weights: Path,
    form: str,
    out: Path,
    measured: bool,
    constraints: tuple[str, ...],
    values: Path | None,
    as_json: bool,
    **target_values: Any,
) -> None:
    """Write a trained architecture as ONNX, by torch.export, or as PyTorch code that needs no nascli.

    What the file computes is compared with the trained network before it is called done.

    \b
    Examples:
      nascli export runs/first/architecture.json --weights runs/first/weights.safetensors --format python --out net.py
      nascli export runs/first/architecture.json --weights runs/first/weights.safetensors --out net.onnx --measure
    """
    from nascli.pipeline.train.export import export_architecture, measure_export, parse_latency_bounds
    from nascli.units import format_seconds

    if constraints and not measured:
        raise click.UsageError("--constraint is held against a measurement: add --measure")
    if values is not None and not measured:
        raise click.UsageError("--inputs is what is measured with: add --measure")
    spec, execution = target_of(**target_values)
    bounds = parse_latency_bounds(constraints, spec)
    exported = export_architecture(architecture, weights, form, out, spec=spec, execution=execution)
    latency = None
    if measured:
        progress = terminal_progress()
        feed = feed_of({}, None, values)
        latency = measure_export(architecture, bounds, spec, execution, progress, feed=feed)
        progress.finish()
    if as_json:
        show_json(exported.to_json() | ({} if latency is None else latency.to_json()))
        return
    files = ", ".join(str(file) for file in exported.files)
    click.echo(f"{files}: differs from torch by {exported.max_difference:.2g}")
    if latency is not None:
        click.echo(
            f"measured {format_seconds(latency.seconds)} "
            f"[{format_seconds(latency.low)}, {format_seconds(latency.high)}] at 95 %"
        )


@click.group()
def supernet() -> None:
    """Train supernets that several searches share."""


@supernet.command("train")
@space_option
@data_options
@click.option("--epochs", type=click.IntRange(1), help="Train for so many epochs instead of the recipe's.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed everything that is random."
)
@click.option(
    "--preset", help="Train by the recipe of this preset: small (the default) or paper (that of SPOS)."
)
@click.option(
    "--recipe",
    "recipe_name",
    shell_complete=completing("supernet recipes"),
    help="Train by this recipe of a supernet (nascli recipes), or by your own: FILE.toml.",
)
@recipe_changes_option
@click.option("--within", help="Draw paths uniformly over bins of a window: '290M<=macs<=360M'.")
@click.option(
    "--sandwich",
    type=click.IntRange(0),
    metavar="N",
    help="Let the largest path teach the smallest and N random ones in each step.",
)
@teacher_options
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Write this checkpoint.")
@training_options
@json_option
def supernet_train(
    *,
    spec: str,
    data: str,
    epochs: int | None,
    seed: int,
    preset: str | None,
    recipe_name: str | None,
    changes: tuple[str, ...],
    within: str | None,
    sandwich: int | None,
    out: Path,
    as_json: bool,
    **values: Any,
) -> None:
    """Train the supernet of a space; killed and run again, it goes on where it was.

    Several processes under torchrun train it together.

    \b
    Examples:
      nascli supernet train --space spos-mini --out spos.safetensors
      nascli supernet train --space spos --data imagenet:/data/imagenet --recipe spos --out spos.safetensors
      torchrun --nproc-per-node 2 -m nascli supernet train --space spos-mini --out spos.safetensors
    """
    if preset is not None and recipe_name is not None:
        raise click.UsageError("--preset and --recipe both name a recipe; leave one of them out")
    from nascli.pipeline.train.supernet import train_supernet

    progress = terminal_progress()
    result = train_supernet(
        spec,
        data,
        seed=seed,
        out=out,
        progress=progress,
        epochs=epochs,
        preset=preset or "small",
        recipe_name=recipe_name,
        changes=changes,
        within=within,
        training=training_of(values),
        sandwich=sandwich,
        teacher=teacher_of(values),
        options=data_options_of(**values),
    )
    progress.finish()
    if not is_main_process():
        return
    if as_json:
        show_json(result.to_json())
    else:
        click.echo(f"{result.steps} steps; {out}")
