"""The command transfer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nascli.commands.options import (
    json_option,
    space_option,
    target_of,
    target_options,
)
from nascli.commands.output import print_table, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.pipeline.measure.new_device import NewDeviceRanking


@click.command()
@click.argument("architectures", nargs=-1, type=click.Path(path_type=Path))
@space_option
@click.option(
    "--from", "sources", multiple=True, metavar="DEVICE",
    help="Use this device's table (repeatable; default: all that have the whole space).",
)  # fmt: skip
@click.option(
    "--networks", default=10, show_default=True, type=click.IntRange(5),
    help="Measure so many networks if the device is here, or write so many.",
)  # fmt: skip
@click.option(
    "--measurements",
    type=click.Path(path_type=Path),
    help="Read the device's latencies of networks from this CSV file.",
)
@click.option(
    "--write-networks", "folder", type=click.Path(path_type=Path),
    help="Write models to measure by other tools, with a form for --measurements.",
)  # fmt: skip
@click.option(
    "--sample", "samples", default=10, show_default=True, type=click.IntRange(1, 100_000),
    help="Rank so many random architectures if no file is named.",
)  # fmt: skip
@click.option(
    "--confidence",
    default=0.9,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Give the interval that holds the measured latency with this probability.",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed the choice of networks."
)
@target_options
@json_option
def transfer(
    *,
    architectures: tuple[Path, ...],
    spec: str,
    sources: tuple[str, ...],
    networks: int,
    measurements: Path | None,
    folder: Path | None,
    samples: int,
    confidence: float,
    seed: int,
    as_json: bool,
    **target_values: Any,
) -> None:
    """Rank architectures on a device of which few networks are measured, from the tables of other devices.

    The store must have tables of the space on other devices. On the new device about ten whole networks are enough:
    if it is here, they are measured; of another one they are in the store (nascli measure there, then nascli lut
    export and import), or in a CSV file. The space is that of the ARCHITECTURES, if there are any.

    \b
    Examples:
      nascli transfer --device cpu --space proxyless-mini runs/*/architecture.json
      nascli transfer --space proxyless-mini --batch 1 --write-networks to-measure
      nascli transfer --device phone --batch 1 --measurements to-measure/measurements.csv --sample 20
    """
    from nascli.pipeline.measure.measured_networks import networks_to_measure
    from nascli.pipeline.measure.measurement_form import write_form
    from nascli.pipeline.measure.new_device import rank_on_new_device
    from nascli.spaces import Architecture, load_space

    if folder is not None and (architectures or measurements or sources):
        raise click.UsageError("--write-networks only writes what to measure; rank in a command of its own")
    named = [(str(path), Architecture.load(path)) for path in architectures]
    given = click.get_current_context().get_parameter_source("spec") is not ParameterSource.DEFAULT
    space = named[0][1].space if named and not given else load_space(spec)
    if folder is not None:
        rows = networks_to_measure(space, networks, seed)
        files = [str(path) for path in write_form(space, rows, folder, target_values["batch"])]
        if as_json:
            show_json(
                {"space": space.spec, "batch": target_values["batch"], "networks": len(rows), "files": files}
            )
            return
        click.echo(
            f"{len(rows)} networks of {space.spec} at batch {target_values['batch']} are in {folder}. Measure the .onnx"
        )
        click.echo(f"files, write the latencies into {files[-1]}, and give it to --measurements.")
        return
    progress = terminal_progress()
    ranking = rank_on_new_device(
        space, *target_of(**target_values), architectures=named, sources=sources, measurements=measurements,
        networks=networks, samples=samples, confidence=confidence, seed=seed, progress=progress,
    )  # fmt: skip
    progress.finish()
    if as_json:
        show_json(ranking.to_json())
    else:
        _show_ranking(ranking)


def _show_ranking(ranking: NewDeviceRanking) -> None:
    """How far to believe a transfer, what it rests on, and what it says."""
    from nascli.units import format_seconds

    quality = [
        [
            name,
            f"{fit.pairs_in_order:.0%}",
            _format_correlation(fit.rank_correlation),
            f"{fit.mean_absolute:.1%}",
            "-" if fit.within_interval is None else f"{fit.within_interval:.0%}",
        ]
        for name, fit in (
            ("transfer", ranking.transferred),
            ("nearest known device, scaled", ranking.nearest),
        )
    ]
    print_table(
        [
            "left out and predicted",
            "pairs in order",
            "rank correlation",
            "mean abs. error",
            f"inside {ranking.confidence:.0%} interval",
        ],
        quality,
        f"{ranking.networks} networks of {ranking.space} measured on {ranking.device}",
    )
    known = [
        [one.setup.label, one.kind, f"{one.weight:.0%}", _format_correlation(one.rank_correlation)]
        for one in ranking.known
    ]
    print_table(["known device", "table", "weight", "rank correlation"], known)
    rows = [
        [
            str(rank),
            one.name,
            " ".join(map(str, one.choices)),
            format_seconds(one.seconds),
            f"{format_seconds(one.interval[0])} to {format_seconds(one.interval[1])}",
            "-" if one.measured is None else format_seconds(one.measured),
        ]
        for rank, one in enumerate(ranking.architectures, 1)
    ]
    print_table(
        ["rank", "architecture", "codes", "predicted", f"{ranking.confidence:.0%} interval", "measured"], rows
    )
    if ranking.complete_table:
        click.echo("the device's own table has the whole space: nascli predict needs no other device")


def _format_correlation(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
