"""The job of `nascli report`: from the folders of runs to their pages."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost, counted
from nascli.errors import Remedy, RunError
from nascli.files import read_json, reading, write_atomically
from nascli.pipeline.run.old_settings import read_settings
from nascli.pipeline.run.result import read_result
from nascli.pipeline.run.searched_space import searched_space
from nascli.pipeline.run.unused_budget import explain
from nascli.report.charts import PlottedEvaluation
from nascli.report.comparison_page import ComparedRun, render_comparison
from nascli.report.network_drawing import DrawnBlock
from nascli.report.run_page import render_run
from nascli.report.run_summary import RunSummary
from nascli.report.story import Story
from nascli.search.algorithm import SearchRecord, common_stories
from nascli.search.base import Choices, Evaluation
from nascli.search.journal import Journal
from nascli.search.registry import algorithm_names, find_algorithm
from nascli.search.run_folder import ARCHITECTURE, COSTS, EVALUATIONS, RESULT, STORY, WINNER_COSTS
from nascli.spaces import Architecture, count
from nascli.spaces.architecture import singleton_space
from nascli.spaces.blocks import Layer
from nascli.spaces.space import Space
from nascli.supernet.training import distributed


def write_report(run: Path) -> Path:
    """Write the page of a finished run, report.html in its folder, and return its path.

    Processes that work together call this at the same point, and the first one writes.

    Raises:
        RunError: The folder is not a finished run, a file in it is damaged, or the page cannot be written.
    """
    return Path(distributed.on_first(lambda: str(_write_report(run))))


def _write_report(run: Path) -> Path:
    found = read_result(run)
    result, has_model = found.to_json(), found.winner.predicted_latency is not None
    costs = read_json(run / COSTS)
    if has_model and costs is None:
        raise RunError(
            f"{run} has no {COSTS}.",
            "Finish it with the search that began it.",
            Remedy(job="search", arguments={"out": run}),
        )
    architecture = Architecture.load(run / ARCHITECTURE)
    journal = Journal(run / EVALUATIONS)
    try:
        evaluations = [evaluation for evaluation in journal if evaluation.succeeded]
        failed = sum(not evaluation.succeeded for evaluation in journal)
    finally:
        journal.close()
    if not evaluations:
        raise RunError(f"{journal.path} has no evaluations.", "Remove the run's folder to start anew.")
    with reading(run):
        space = searched_space(found)
        if costs is None:
            cost = counted(space, result["budget"][0]["cost"])
            blocks, rest = _counted_blocks(architecture), 0.0
        else:
            cost = ChainCost.from_json(costs["latency"])
            blocks = _blocks(*_own(run, architecture, cost, costs))
            rest = result["predicted_latency_s"]["value"] - sum(block.seconds for block in blocks)
        evaluated = _evaluated(space, cost, evaluations)
        record = _record(run, space, tuple(result["codes"]), evaluations)
        stories = _stories(result["algorithm"], record)
        unused = explain(run, found, space, evaluations)
        text = render_run(
            RunSummary.from_json(result),
            evaluated,
            blocks,
            stories,
            rest=rest,
            failed=failed,
            unused="" if unused is None else unused.whole_text,
        )
    page = run / "report.html"
    try:
        write_atomically(page, text.encode())
    except OSError as error:
        raise RunError(
            f"cannot write {page}: {error.strerror}.", "Free some space, or make the folder writable."
        ) from error
    return page


def _stories(algorithm: str, record: SearchRecord) -> list[Story]:
    """The pictures of how the search went; of an algorithm that is not installed here, those that all have."""
    if algorithm in algorithm_names():
        return find_algorithm(algorithm).stories(record)
    text = f"The algorithm {algorithm} is not installed here, so that its own pictures are missing."
    return [Story("An algorithm of another package", text, ""), *common_stories(record)]


def _label(run: Path, runs: Sequence[Path]) -> str:
    """The name of a run's folder, or its path where several folders have that name."""
    names = [each.resolve().name for each in runs]
    return run.resolve().name if names.count(run.resolve().name) == 1 else str(run)


def _evaluated(space: Space, cost: ChainCost, evaluations: Sequence[Evaluation]) -> list[PlottedEvaluation]:
    costs = cost(space.check(np.array([evaluation.architecture for evaluation in evaluations])))
    return [
        PlottedEvaluation(float(value), evaluation.value, _in_words(space, evaluation.architecture))
        for value, evaluation in zip(costs, evaluations, strict=True)
    ]


def _in_words(space: Space, architecture: Choices) -> str:
    """An architecture by the names of its operators; equal neighbours are counted."""
    names = [
        " + ".join(layer.candidates[i].short for i in layer.chosen(int(choice))) or "skip"
        for layer, choice in zip(space.layers, architecture, strict=True)
    ]
    groups = [(name, len(list(equal))) for name, equal in itertools.groupby(names)]
    return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in groups)


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Write a page that compares finished runs, and return its path.

    Args:
        runs: The folders of the runs.
        out: The page.

    Raises:
        RunError: A folder is not a finished run with measurements, or the page cannot be written.
    """
    compared = []
    for run in runs:
        result = read_json(run / RESULT)
        if result is None or result.get("measured_latency_s") is None:
            raise RunError(f"{run} is not a finished run with measurements.", "Name the folders of searches.")
        # One at a time, so that a damaged one is named.
        with reading(run / RESULT):
            summary = RunSummary.from_json(result)
            assert summary.measured is not None
            compared.append(ComparedRun(_label(run, runs), summary, summary.measured))
            render_comparison(compared[-1:])
    text = render_comparison(compared)
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from error
    return out


def _record(run: Path, space: Space, winner: Choices, evaluations: Sequence[Evaluation]) -> SearchRecord:
    """What the run wrote down about its search."""
    settings = read_settings(run).get("preset", {}).get("settings", {})
    return SearchRecord(space, winner, evaluations, read_json(run / STORY) or {}, settings)


def _own(
    run: Path, architecture: Architecture, latency: ChainCost, costs: dict[str, Any]
) -> tuple[Space, Sequence[int], ChainCost, dict[str, float]]:
    """The winner's space, choices, latency, and fixed costs; with changed widths, those of its own operators."""
    own = read_json(run / WINNER_COSTS)
    if own is None:
        return architecture.space, architecture.choices, latency, costs["fixed"]
    space, choices = singleton_space(architecture.space, architecture.choices)
    return space, choices, ChainCost.from_json(own["latency"]), own["fixed"]


def _blocks(
    space: Space, choices: Sequence[int], latency: ChainCost, fixed: dict[str, float]
) -> list[DrawnBlock]:
    """The blocks of a network with their seconds by the latency model."""
    joins = latency.joins or (None,) * len(latency.unary)
    layers = iter(zip(choices, latency.unary, joins, strict=True))
    blocks = []
    for block, chosen_block in zip(space.blocks, space.network(choices).blocks, strict=True):
        name, operator = chosen_block.name, chosen_block.operator
        if isinstance(block, Layer):
            choice, unary, join = next(layers)
            chosen = list(block.chosen(int(choice)))
            seconds = float(unary[chosen].sum()) + (0.0 if join is None else float(join[len(chosen)]))
        else:
            seconds = float(fixed[name])
        skipped = operator.program.output == 0
        macs = count(operator.program).macs
        blocks.append(
            DrawnBlock(
                name,
                "skipped" if skipped else operator.short,
                str(operator.output),
                operator.output.channels,
                seconds,
                macs,
                skipped,
            )
        )
    return blocks


def _counted_blocks(architecture: Architecture) -> list[DrawnBlock]:
    """The blocks of a network of which nothing was measured."""
    return [
        DrawnBlock(
            block.name,
            block.operator.short if block.operator.program.output else "skipped",
            str(block.output),
            block.output.channels,
            0.0,
            count(block.operator.program).macs,
            not block.operator.program.output,
        )
        for block in architecture.network.blocks
    ]
