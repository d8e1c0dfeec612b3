"""The commands that measure and predict: profile, calibrate, predict, measure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from nascli.commands.breakdown import breakdown_options, breakdown_request, show_breakdown
from nascli.commands.options import (
    completing,
    feed_of,
    feed_options,
    is_given,
    json_option,
    shape_option,
    space_option,
    target_of,
    target_options,
)
from nascli.commands.output import HasJson, print_table, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.execution import Execution
    from nascli.pipeline.measure.every_runtime import RuntimeComparison
    from nascli.pipeline.measure.model_feeds import ModelFeed
    from nascli.pipeline.measure.network_calibration import ModelErrors
    from nascli.pipeline.measure.prediction import Prediction
    from nascli.pipeline.measure.profile import ProfileSummary
    from nascli.pipeline.measure.whole_models import MeasuredModel
    from nascli.profiles.target import TargetSpec
    from nascli.spaces import Network, Space

if TYPE_CHECKING:
    from nascli.pipeline.measure.new_device import NewDeviceRanking


@click.command()
@space_option
@click.option(
    "--network",
    type=click.Path(path_type=Path),
    help="Measure the layers of an architecture's .json or an .onnx file instead of a space's.",
)
@click.option("--older-than", "age", help="Measure anew what was measured longer ago than this: 30d, 1h.")
@click.option("--unstable", is_flag=True, help="Measure anew what did not settle.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed the order of the measurements."
)
@click.option("--host", metavar="USER@MACHINE", help="Write a plan to measure there, and say the commands.")
@click.option("--plan", type=click.Path(path_type=Path), help="Measure what such a plan says.")
@click.option("--ray", metavar="auto|ADDRESS", help="Have the device of a Ray cluster measured.")
@click.option(
    "--pack", type=click.Path(path_type=Path), help="Write what --plan measured into this .parquet file."
)
@breakdown_options
@shape_option
@target_options
@json_option
def profile(
    *,
    spec: str,
    network: Path | None,
    age: str | None,
    unstable: bool,
    seed: int,
    host: str | None,
    plan: Path | None,
    pack: Path | None,
    ray: str | None,
    breakdown: bool,
    html: Path | None,
    compare: Path | None,
    order: str,
    top: int | None,
    shapes: dict[str, tuple[int, ...]],
    as_json: bool,
    **target_values: Any,
) -> None:
    """Measure the operators of a space, or the layers of a network, that the store lacks.

    Killed and run again, it goes on where it was. An ONNX file that is fixed at one batch is measured at it, unless
    --batch says otherwise.

    \b
    Examples:
      nascli profile --device cpu --space proxyless-mini --batch 16
      nascli profile --device cpu --network model.onnx --batch 1
      nascli profile --network model.onnx --html where-the-time-goes.html
      nascli profile --device titanxp --host user@lab-machine
      nascli profile --plan titanxp-proxyless-mini.plan.json --pack titanxp.parquet
    """
    request = breakdown_request(network, breakdown, html, compare, order, top)
    if request is not None:
        show_breakdown(request, shapes, seed, as_json, **target_values)
        return
    _refuse_contradictions(host, plan, pack, ray, age, unstable)
    if network is not None:
        target_values["batch"] = _batch_of(network, target_values["batch"], shapes)
    if plan is not None:
        if target_values["clock"] is not None or target_values["device"] != "cpu":
            raise click.UsageError("a plan says itself which device is meant and what its clock is held at")
        _profile_by_plan(plan, pack, target_of(**target_values)[1], seed, as_json)
    elif host is not None:
        clock = target_values.pop("clock")
        target = target_of(clock=None, **target_values)[0]
        _write_plan(_profiled(spec, network, target.batch, shapes), target, host, clock, as_json)
    elif ray is not None:
        target, execution = target_of(**target_values, ray=ray)
        profiled = _profiled(spec, network, target.batch, shapes)
        _profile_by_cluster(profiled, target, execution, seed, as_json)
    else:
        from nascli.pipeline.measure.profile import profile_target

        progress = terminal_progress()
        target, execution = target_of(**target_values, word="fastest")
        summary = profile_target(
            _profiled(spec, network, target.batch, shapes),
            target,
            execution,
            age=age,
            unstable=unstable,
            seed=seed,
            progress=progress,
        )
        progress.finish()
        _show_summary(summary, summary, as_json)


def _refuse_contradictions(
    host: str | None, plan: Path | None, pack: Path | None, ray: str | None, age: str | None, unstable: bool
) -> None:
    """Refuse options that do not go together."""
    elsewhere = [flag for flag, value in (("--host", host), ("--plan", plan), ("--ray", ray)) if value]
    if len(elsewhere) > 1:
        raise click.UsageError("--host writes a plan, --plan measures one, --ray has it measured: give one")
    if pack is not None and plan is None:
        raise click.UsageError("--pack goes with --plan; without a plan: nascli lut export")
    if elsewhere and (age is not None or unstable):
        raise click.UsageError(
            f"--older-than and --unstable are about this machine's store, not {elsewhere[0]}'s"
        )


def _batch_of(network: Path, batch: int, shapes: dict[str, tuple[int, ...]]) -> int:
    """The batch that is meant: an ONNX file's own if it is fixed at one and the user names none."""
    from nascli.pipeline.measure.subjects import own_batch

    return batch if is_given("batch") else own_batch(network, batch, shapes)


def _profiled(
    spec: str, network: Path | None, batch: int, shapes: dict[str, tuple[int, ...]]
) -> Space | Network:
    """The space or the network that is meant."""
    from nascli.pipeline.measure.subjects import read_network
    from nascli.spaces import load_space

    return load_space(spec) if network is None else read_network(network, batch=batch, shapes=shapes)[0]


def _profile_by_plan(plan: Path, pack: Path | None, execution: Execution, seed: int, as_json: bool) -> None:
    from nascli.pipeline.measure.remote import run_plan

    progress = terminal_progress()
    measured = run_plan(plan, pack, execution, seed=seed, progress=progress)
    progress.finish()
    _show_summary(measured, measured.summary, as_json)


def _write_plan(
    profiled: Space | Network, target: TargetSpec, host: str, clock: str | None, as_json: bool
) -> None:
    from nascli.commands.hints import plan_commands
    from nascli.pipeline.measure.remote import write_plan

    plan = write_plan(profiled, target, Path.cwd(), clock=clock)
    commands = plan_commands(plan, host)
    if as_json:
        show_json({**plan.to_json(), "commands": commands})
        return
    click.echo(f"{plan.models} models to measure are in {plan.file}. Next:")
    for command in commands:
        click.echo(f"  {command}")


def _profile_by_cluster(
    profiled: Space | Network, target: TargetSpec, execution: Execution, seed: int, as_json: bool
) -> None:
    from nascli.pipeline.measure.remote import profile_on_ray

    brought = profile_on_ray(profiled, target, execution, seed=seed, progress=terminal_progress())
    if as_json:
        show_json(brought)
    else:
        click.echo(f"{brought.new} of {brought.pack.samples} samples were new in {brought.store}")


def _show_summary(result: HasJson, summary: ProfileSummary, as_json: bool) -> None:
    if as_json:
        show_json(result)
        return
    unsettled = len(summary.unstable)
    click.echo(
        f"{summary.operators} models in {summary.store}; {unsettled} did not settle within "
        f"{summary.interval_target:.0%}"
        + (": nascli profile --unstable measures them anew" if unsettled else "")
    )


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

    target_values["batch"] = _batch_of(network, target_values["batch"], shapes)
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
