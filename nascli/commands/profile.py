"""The command profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nascli.commands.breakdown import breakdown_options, breakdown_request, show_breakdown
from nascli.commands.options import (
    batch_of,
    json_option,
    shape_option,
    space_option,
    target_of,
    target_options,
)
from nascli.commands.output import HasJson, show_json, terminal_progress

if TYPE_CHECKING:
    from nascli.execution import Execution
    from nascli.pipeline.measure.profile import ProfileSummary
    from nascli.profiles.target import TargetSpec
    from nascli.spaces import Network, Space


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
        target_values["batch"] = batch_of(network, target_values["batch"], shapes)
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
