"""The commands predict and measure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nascli.commands.options import (
    batch_of,
    feed_of,
    feed_options,
    is_given,
    json_option,
    shape_option,
    target_of,
    target_options,
)
from nascli.commands.output import print_table, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.execution import Execution
    from nascli.pipeline.measure.every_runtime import RuntimeComparison
    from nascli.pipeline.measure.model_feeds import ModelFeed
    from nascli.pipeline.measure.prediction import Prediction
    from nascli.pipeline.measure.whole_models import MeasuredModel
    from nascli.profiles.target import TargetSpec


@click.command()
@click.argument("network", type=click.Path(path_type=Path))
@click.option("--explain", is_flag=True, help="Show the share of each block.")
@click.option(
    "--confidence",
    default=0.9,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Give the interval that holds the measured latency with this probability.",
)
@shape_option
@target_options
@json_option
def predict(
    network: Path,
    explain: bool,
    confidence: float,
    shapes: dict[str, tuple[int, ...]],
    as_json: bool,
    **target_values: Any,
) -> None:
    """Predict the latency of an architecture's file or any ONNX model from the table.

    Corrected by whole networks, with an interval, where `nascli calibrate` measured some: those of the architecture's
    space, else reference networks of the device. For a card without a table the figure is predicted from its data
    sheet, and says so.

    \b
    Example:
      nascli predict --device cpu runs/first/architecture.json --explain
    """
    from nascli.commands.hints import no_interval_as_text
    from nascli.pipeline.measure.prediction import predict_network

    target_values["batch"] = batch_of(network, target_values["batch"], shapes)
    prediction = predict_network(network, *target_of(**target_values), confidence=confidence, shapes=shapes)
    no_interval = no_interval_as_text(prediction)
    if as_json:
        show_json({**prediction.to_json(), "no_interval": no_interval})
        return
    click.echo(f"{_with_interval(prediction)}: {prediction.model}")
    if prediction.kind == "predicted":
        click.echo("predicted, not measured: import or measure a table for a figure to rely on")
    elif prediction.extrapolated:
        where = f" in {' and '.join(prediction.outside)}" if prediction.outside else ""
        click.echo(f"beyond what was calibrated on{where}: the interval may be too narrow")
    if no_interval is not None:
        click.echo(f"no interval: {no_interval}")
    if explain:
        print_table(["block", "operator", "latency", "share", "", "kind"], _part_rows(prediction))


def _with_interval(prediction: Prediction) -> str:
    from nascli.units import format_seconds

    if prediction.low is None or prediction.high is None or prediction.confidence is None:
        return format_seconds(prediction.seconds)
    ends = f"[{format_seconds(prediction.low)}, {format_seconds(prediction.high)}]"
    return f"{format_seconds(prediction.seconds)} {ends} at {prediction.confidence:.0%}"


def _part_rows(prediction: Prediction) -> list[list[str]]:
    """Each block with a bar as long as its share."""
    from nascli.units import format_seconds

    largest = max(part.share for part in prediction.parts)
    return [
        [
            part.block,
            part.operator,
            format_seconds(part.seconds),
            f"{part.share:.1%}",
            "█" * max(1, round(24 * part.share / largest)) if part.share else "",
            part.kind,
        ]
        for part in prediction.parts
    ]


@click.command()
@click.argument("networks", nargs=-1, required=True, type=click.Path(path_type=Path))
@feed_options
@target_options
@json_option
def measure(
    networks: tuple[Path, ...],
    shapes: dict[str, tuple[int, ...]],
    integer_range: tuple[int, int] | None,
    values: Path | None,
    as_json: bool,
    **target_values: Any,
) -> None:
    """Measure architectures' files or ONNX models end to end.

    An ONNX model is timed as it is, whatever it is built of: with its own weights, element types, and batch, if it
    is fixed at one and --batch is not given.

    With --runtime all it is timed on every runtime and in every precision that works here, side by side.

    \b
    Examples:
      nascli measure --device cpu runs/first/architecture.json
      nascli measure model.onnx --batch 1
      nascli measure first.onnx second.onnx --shape x=1x3x224x224
      nascli measure model.onnx --batch 1 --runtime all
    """
    feed, own_batch = feed_of(shapes, integer_range, values), not is_given("batch")
    if target_values["runtime"] == "all":
        target = target_of(**target_values, word="all")
        _compare_runtimes(networks, *target, feed=feed, own_batch=own_batch, as_json=as_json)
        return
    from nascli.pipeline.measure.whole_networks import measure_sources

    progress = terminal_progress()
    measured = measure_sources(
        networks,
        *target_of(**target_values),
        feed=feed,
        own_batch=own_batch,
        progress=progress,
    )
    progress.finish()
    if as_json:
        show_json(measured[0] if len(measured) == 1 else measured)
    elif len(measured) == 1:
        click.echo(_as_text(measured[0]))
    else:
        rows = [[str(one.path), str(one.batch), _as_text(one)] for one in measured]
        print_table(["network", "batch", "latency"], rows)


def _as_text(measured: MeasuredModel) -> str:
    from nascli.units import format_seconds

    figure = measured.measurement
    return (
        f"{format_seconds(figure.seconds)} [{format_seconds(figure.low)}, {format_seconds(figure.high)}] "
        f"at 95 %, {figure.rounds} rounds"
    )


def _compare_runtimes(
    networks: tuple[Path, ...],
    spec: TargetSpec,
    execution: Execution,
    *,
    feed: ModelFeed,
    own_batch: bool,
    as_json: bool,
) -> None:
    from nascli.pipeline.measure.every_runtime import compare_runtimes

    progress = terminal_progress()
    comparisons = [
        compare_runtimes(path, spec, execution, feed=feed, own_batch=own_batch, progress=progress)
        for path in networks
    ]
    progress.finish()
    if as_json:
        show_json(comparisons[0] if len(comparisons) == 1 else comparisons)
        return
    for path, comparison in zip(networks, comparisons, strict=True):
        _show_comparison(path, comparison)


def _show_comparison(path: Path, comparison: RuntimeComparison) -> None:
    """Each runtime in each precision, and which is the fastest."""
    from nascli.units import format_seconds

    rows = [
        [
            one.setup.runtime,
            one.setup.precision,
            format_seconds(one.latency.seconds),
            f"{format_seconds(one.latency.low)} to {format_seconds(one.latency.high)}",
            f"{one.speed:.2f}x",
            "-" if one.distance is None else f"{one.distance:.2g}",
        ]
        for one in comparison.contenders
    ]
    first, fastest = comparison.contenders[0], comparison.fastest
    columns = ["runtime", "precision", "latency", "95 % interval", "speed", "output apart from fp32"]
    print_table(columns, rows, f"{path} at batch {first.setup.batch} on {first.setup.device}")
    for name, reason in comparison.left_out.items():
        click.echo(f"left out: {name}: {reason}")
    apart = (
        "its outputs say nothing: it was quantised without data, to be timed"
        if fastest.distance is None and fastest.setup.precision == "int8"
        else "its outputs cannot be compared"
        if fastest.distance is None
        else f"its outputs are within {fastest.distance:.2g} of fp32's, relative to the largest value"
    )
    click.echo(
        f"fastest: {fastest.name}, {fastest.speed:.2f} times as fast as {first.name}; {apart}"
        if fastest is not first
        else f"fastest: {fastest.name}"
    )
