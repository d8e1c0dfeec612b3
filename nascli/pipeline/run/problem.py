"""What a search searches: its space, data, costs, and what is refused before anything is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nascli.costmodel import BoundedCost, ChainCost, Constraint, FeasibleSet, table_latency
from nascli.costmodel.budgets import CostSet, counted_costs
from nascli.costmodel.calibration import Calibration
from nascli.costmodel.chain import require_single_path
from nascli.costmodel.roofline import roofline_latency
from nascli.errors import ConstraintError
from nascli.execution import Execution
from nascli.files import read_json, reading, write_json
from nascli.pipeline.measure.latency_model import (
    CALIBRATED,
    MODEL,
    find_data_sheet,
    fixed_costs,
    known_calibration,
)
from nascli.pipeline.measure.profile import plan, profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.measure.table_quality import table_quality
from nascli.pipeline.run.settings import SPACE_ALGORITHMS, SearchSettings
from nascli.pipeline.tables.lookup import read_table_of
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Progress
from nascli.search.run_folder import COSTS, RESULT, SETTINGS, STORY, RunFolder
from nascli.spaces.builtin.branches import format_inherited
from nascli.spaces.catalog import (
    load_space,
    load_space_of_any_kind,
    make_space,
    make_space_of_any_kind,
    takes_parameter,
)
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.images import _adapted_parameters
from nascli.units import format_big_integer, format_seconds

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images


# Spaces whose last operations nse-second inherits.
FIRST_SPACES = ("nse-27", "nse-27-mini")
SPACE_FILE = "space.json"


def named_space(settings: SearchSettings) -> Space | StagedSpace:
    """What the user named, fitted to the data; for NSS also a space of spaces."""
    if settings.after is not None:
        named: Space | StagedSpace = second_space(load_space(settings.space), Path(settings.after))
    else:
        named = (
            load_space_of_any_kind(settings.space)
            if settings.algorithm == "nss"
            else load_space(settings.space)
        )
    return make_space_of_any_kind(named.name, **_adapted_parameters(named, settings.data))


def second_space(space: Space, run: Path) -> Space:
    """A second space with the operations that the last round of a run in the first space handed on.

    Args:
        space: the second one, such as nse-second.
        run: the first run's folder.

    Raises:
        ConstraintError: a space that inherits nothing, or a run that is not NSE's, finished, in the first space.
    """
    if not takes_parameter(space.name, "inherited"):
        raise ConstraintError(
            f"{space.name} inherits nothing.", "Choose --space nse-second or nse-second-mini"
        )
    story = run / STORY
    rounds = (read_json(story) or {}).get("rounds")
    if not rounds or read_json(run / RESULT) is None:
        raise ConstraintError(f"{run} is no finished search by NSE.", "Name the run's folder.")
    first = str((read_json(run / SETTINGS) or {}).get("space", "")).partition(":")[0]
    if first not in FIRST_SPACES:
        raise ConstraintError(
            f"{run} searched {first or 'an unknown space'}; {space.name} continues {' or '.join(FIRST_SPACES)}.",
            "Name a run in one of these.",
        )
    with reading(story):
        text = format_inherited(rounds[-1]["aggregated"])
    return make_space(space.name, **{**dict(space.parameters), "inherited": text})


def learned_space(
    settings: SearchSettings,
    given: Space | StagedSpace,
    constraints: Sequence[Constraint],
    folder: RunFolder,
    progress: Progress,
) -> Space:
    """The space to search: the one that was given, or what NSS or AutoSpace learns from it."""
    if settings.algorithm not in SPACE_ALGORITHMS:
        assert isinstance(given, Space)
        return given
    if isinstance(given, StagedSpace):
        space, document = _elite_space(settings, given, constraints, folder, progress)
    elif settings.algorithm == "nss":
        raise ConstraintError(
            f"{given.name} is no space of depths and widths.", "Choose --space nss-expanded-mini"
        )
    else:
        space, document = _space_of_cells(settings, given, folder, progress)
    write_json(folder.file(SPACE_FILE), {"spec": space.spec, **document})
    progress.message(
        f"learned space: {format_big_integer(space.size)} architectures; it is in {folder.file(SPACE_FILE)}"
    )
    return space


def _elite_space(
    settings: SearchSettings,
    given: StagedSpace,
    constraints: Sequence[Constraint],
    folder: RunFolder,
    progress: Progress,
) -> tuple[Space, dict[str, Any]]:
    from nascli.search.nss.engine import search_space
    from nascli.supernet.data.images import load_images, require_fit

    images = load_images(settings.data, given.input.height)
    require_fit(images, given.input, given.classes)
    # MACs before latency, where both are bounded: they need nothing measured.
    local = {c.name: c for c in constraints if c.device is None and c.high != float("inf")}
    bound = local.get("macs") or local.get("latency")
    if bound is None:
        raise ConstraintError(
            "NSS aims at a number of MACs or a latency here.", "Add --constraint macs<=... or latency=..."
        )
    cost = None
    if bound.name == "latency":
        from nascli.pipeline.measure.staged_latency import staged_latency

        cost = staged_latency(
            given, settings.target, settings.execution, seed=settings.seed, progress=progress
        )
    found = search_space(
        given,
        images,
        bound.high,
        settings.effort.nss,
        settings.effort.supernet_recipe(settings.effort.nss_epochs),
        seed=settings.seed,
        file=folder.file("training/space.safetensors"),
        progress=progress,
        cost=cost,
    )
    return found.chain(), found.document()


def _space_of_cells(
    settings: SearchSettings, given: Space, folder: RunFolder, progress: Progress
) -> tuple[Space, dict[str, Any]]:
    from nascli.search.autospace.engine import learn_cells
    from nascli.supernet.data.images import load_images, require_fit

    if not takes_parameter(given.name, "cells"):
        raise ConstraintError(f"{given.name} has no cells to learn.", "Choose --space autospace-mini")
    images = load_images(settings.data, given.input.height)
    require_fit(images, given.input, given.output.channels)
    learned = learn_cells(
        given,
        images,
        settings.effort.autospace,
        settings.effort.supernet_recipe(1),
        seed=settings.seed,
        file=folder.file("training/space.safetensors"),
        progress=progress,
    )
    return make_space(given.name, **{**dict(given.parameters), "cells": learned.text}), learned.document()


def checked_images(settings: SearchSettings, space: Space, constraints: Sequence[Constraint]) -> Images:
    """The data, after refusing what can be refused before minutes are spent on measuring.

    Raises:
        NascliError: a space that cannot be searched, data that does not fit it, counted budgets that nothing
            meets, or a table of another device that is not there.
    """
    from nascli.supernet.data.images import load_images, require_fit

    if settings.algorithm == "nse":
        if not space.multi_branch:
            raise ConstraintError(
                f"NSE searches multi-branch spaces, and {space.name} is single-path.",
                "Choose --space nse-27-mini or another nse space: nascli spaces",
            )
    elif settings.algorithm == "pcnas":
        require_single_path(space, "PC-NAS")
    elif settings.algorithm == "proxyless":
        require_single_path(space, "ProxylessNAS's gradient search")
    images = load_images(settings.data, space.input.height)
    require_fit(images, space.input, space.output.channels)
    costs = counted_costs(space, constraints)
    FeasibleSet(space, [BoundedCost(c, costs[c.name]) for c in constraints if c.name != "latency"])
    for device in {c.device for c in constraints if c.device}:
        if find_data_sheet(replace(settings.target, device=device), settings.execution) is None:
            read_table_of(settings.target, settings.execution, device)
    return images


def frozen_costs(settings: SearchSettings, space: Space, folder: RunFolder, progress: Progress) -> CostSet:
    """Profile what is missing and freeze the costs, so that a resumed run sees the same table."""
    file = folder.file(COSTS)
    kept = read_json(file)
    if kept is None:
        spec, execution = settings.target, settings.execution
        protocol = MeasurementProtocol()
        work = plan(space_subjects(space), spec, execution, protocol)
        if work.todo:
            progress.message(
                f"{len(work.todo)} of {len(work.operators)} models (operators alone and in context) are not "
                f"in the store for {work.setup.label}; measuring them takes about "
                f"{format_seconds(work.expected_seconds)}"
            )
        table = profile_models(
            space_subjects(space), spec, execution, protocol=protocol, seed=settings.seed, progress=progress
        )
        latency = table_latency(
            space, table, f"nascli profile --space {space.spec} {spec.command(execution)}"
        )
        model = MODEL
        calibration = known_calibration(space, spec, execution, table, latency)
        half_width = 0.0
        if settings.confidence is not None:
            half_width = _half_width(calibration, settings.confidence, space, spec, execution)
        if calibration is not None:
            latency, model = calibration.cost, CALIBRATED.format(len(calibration.errors))
        progress.message(f"latency model: {model}")
        kept = {
            "model": model,
            "half_width": half_width,
            "latency": latency.to_json(),
            "fixed": fixed_costs(table, space),
            "elsewhere": {
                device: _elsewhere(space, spec, execution, device, progress).to_json()
                for device in sorted({c.device for c in settings.parsed_constraints() if c.device})
            },
            "setup": table.setup.to_json(),
            "table_digest": table.digest,
            "evidence": table_quality(spec, execution, table, space_subjects(space)),
        }
        write_json(file, kept)
    with reading(file):
        return CostSet(
            latency=ChainCost.from_json(kept["latency"]),
            elsewhere={device: ChainCost.from_json(cost) for device, cost in kept["elsewhere"].items()},
            costs=counted_costs(space, settings.parsed_constraints()),
            model=kept["model"],
            setup=kept["setup"],
            table_digest=kept["table_digest"],
            half_width=kept["half_width"],
            evidence=kept.get("evidence") or {},
        )


def _elsewhere(
    space: Space, spec: TargetSpec, execution: Execution, device: str, progress: Progress
) -> ChainCost:
    """The latency of a space on another device: from its table, or from its data sheet where there is none."""
    absent = find_data_sheet(replace(spec, device=device), execution)
    if absent is None:
        command = f"nascli profile --space {space.spec}, on {device}"
        return table_latency(space, read_table_of(spec, execution, device), command)
    progress.message(
        f"no table of {device} is in the store: its latency is predicted from its data sheet, which is no "
        "measurement; import one for a budget that holds (nascli lut import)"
    )
    return roofline_latency(space, absent, spec.batch, spec.precision)


def _half_width(
    calibration: Calibration | None, confidence: float, space: Space, spec: TargetSpec, execution: Execution
) -> float:
    if calibration is None:
        raise ConstraintError(
            f"--confidence {confidence} needs a calibrated model of {space.spec}, whose interval is known.",
            f"Measure whole networks first: nascli calibrate --space {space.spec} {spec.command(execution)}",
        )
    return calibration.half_width(confidence)
