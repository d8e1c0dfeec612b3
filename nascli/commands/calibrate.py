"""The command calibrate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from nascli.commands.options import (
    completing,
    is_given,
    json_option,
    target_of,
    target_options,
)
from nascli.commands.output import print_table, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.pipeline.measure.network_calibration import ModelErrors


@click.command()
@click.option(
    "--space",
    "spec",
    shell_complete=completing("spaces"),
    help="Calibrate for this space (nascli spaces), or for one of your own: FILE.py:NAME, FILE.toml. Without it, "
    "calibrate the device for any network.",
)
@click.option(
    "--networks",
    default=24,
    show_default=True,
    type=click.IntRange(8),
    help="Measure so many whole networks of the space.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Seed the choice of networks and the order of the measurements.",
)
@target_options
@json_option
def calibrate(spec: str | None, networks: int, seed: int, as_json: bool, **target_values: Any) -> None:
    """Measure whole networks, and correct the sum of operators by them.

    Without --space, reference networks of many families are measured once per device, runtime, precision, batch, and
    threads. Every prediction there is corrected from then on, of an ONNX file or of an architecture, and has an
    interval that is made for networks unlike the measured ones.

    With --space, networks that cover the space are measured. Its architectures are then predicted more closely than by
    the reference networks.

    Profiles what is missing first; killed and run again, it goes on where it was.

    \b
    Examples:
      nascli calibrate --device cpu --batch 1
      nascli calibrate --device cpu --space proxyless-mini --batch 16
    """
    if spec is None:
        if is_given("networks"):
            raise click.UsageError(
                "--networks goes with --space; the reference networks of a device are a fixed list"
            )
        _calibrate_device(seed, as_json, target_values)
    else:
        _calibrate_space(spec, networks, seed, as_json, target_values)


def _calibrate_device(seed: int, as_json: bool, target_values: dict[str, Any]) -> None:
    from nascli.pipeline.measure.device_calibration import calibrate_on_references

    progress = terminal_progress()
    summary = calibrate_on_references(*target_of(**target_values), seed=seed, progress=progress)
    progress.finish()
    if as_json:
        show_json(summary)
        return
    _print_errors({"plain sum": summary.plain, "corrected, each family left out": summary.corrected})
    click.echo(
        f"{summary.networks} reference networks of {summary.families} families; "
        f"{summary.confidence:.0%} interval of a network of another family: about ±{summary.half_width:.1%}"
    )
    for name, reason in summary.left_out.items():
        click.echo(f"left out: {name}: {reason}")
    if summary.contradicting:
        click.echo(f"the other families contradict the figures of: {', '.join(summary.contradicting)}")


def _print_errors(models: Mapping[str, ModelErrors]) -> None:
    rows = [
        [name, f"{errors.bias:+.1%}", f"{errors.mean_absolute:.1%}", f"{errors.within_5_percent:.0%}"]
        for name, errors in models.items()
    ]
    print_table(["model", "bias", "mean abs. error", "within 5 %"], rows)


def _calibrate_space(
    spec: str, networks: int, seed: int, as_json: bool, target_values: dict[str, Any]
) -> None:
    from nascli.pipeline.measure.network_calibration import calibrate_space
    from nascli.spaces import load_space

    progress = terminal_progress()
    summary = calibrate_space(
        load_space(spec), *target_of(**target_values), networks=networks, seed=seed, progress=progress
    )
    progress.finish()
    if as_json:
        show_json(summary)
        return
    _print_errors({"plain sum": summary.plain, "calibrated, each network left out": summary.calibrated})
    click.echo(
        f"{summary.networks} networks of {summary.space}; "
        f"{summary.confidence:.0%} interval: ±{summary.half_width:.1%}"
        if summary.half_width is not None
        else f"{summary.networks} networks are too few for an interval of {summary.confidence:.0%}"
    )
    if summary.contradicting:
        listed = "; ".join(str(list(choices)) for choices in summary.contradicting)
        click.echo(f"the other networks contradict the figures of these architectures: {listed}")
