"""From a run's folder to its report, and to the lines that the terminal shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost
from nascli.errors import RunError
from nascli.files import write_atomically
from nascli.pipeline.rescaling import WINNER_COSTS, narrowed_to
from nascli.pipeline.run_folder import read_json, reading
from nascli.report.comparison import render_comparison
from nascli.report.page import Block, Evaluated, render, rounds_chart, trained_networks, trajectories_chart
from nascli.report.story import Story, pools_story, rounds_story
from nascli.search.journal import Journal
from nascli.spaces import Architecture, count
from nascli.spaces.space import Layer, Space


def write_report(run: Path) -> Path:
    """Write `run`/report.html and return its path.

    Raises:
        RunError: the folder is no finished run.
    """
    result = read_json(run / "result.json")
    costs = read_json(run / "costs.json")
    if result is not None and result.get("measured_latency_s") is None:
        raise RunError(
            f"{run} is a search under counted budgets: nothing was measured, so it has no page.",
            f"Its figures are in {run / 'result.json'}.",
        )
    if result is None or costs is None:
        raise RunError(
            f"{run} is not a finished run: it has no result.json.", "Finish it: nascli search --out RUN ..."
        )
    architecture = Architecture.load(run / "architecture.json")
    journal = Journal(run / "evaluations.jsonl")
    try:
        entries = list(journal)
    finally:
        journal.close()
    if not entries:
        raise RunError(f"{journal.path} has no evaluations.", "Remove the run's folder to start anew.")
    with reading(run):
        latency = ChainCost.from_json(costs["latency"])
        predicted = latency(architecture.space.check(np.array([entry.codes for entry in entries])))
        evaluated = [
            Evaluated(float(seconds), entry.score.value, entry.codes)
            for seconds, entry in zip(predicted, entries, strict=True)
        ]
        blocks = _blocks(*_own(run, architecture, latency, costs))
        text = render(result, evaluated, blocks, _stories(run, architecture))
    page = run / "report.html"
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {page}: {error.strerror}") from error
    return page


def write_comparison(runs: Sequence[Path], out: Path) -> Path:
    """Write a page that compares finished runs; returns its path.

    Raises:
        RunError: a folder that is no finished run with measurements, or a page that cannot be written.
    """
    documents = []
    for run in runs:
        result = read_json(run / "result.json")
        if result is None or result.get("measured_latency_s") is None:
            raise RunError(
                f"{run} is not a finished run with measurements.", "Name folders of nascli search."
            )
        documents.append((run.name, result))
    with reading(out):
        text = render_comparison(documents)
    try:
        write_atomically(out, text.encode())
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from error
    return out


def _stories(run: Path, architecture: Architecture) -> list[Story]:
    """Pictures of how PC-NAS's pool grew, or of what NSE's rounds kept."""
    story = read_json(run / "story.json")
    space, winner = architecture.space, architecture.codes
    if story is None:
        return []
    if "pools" in story:
        return [pools_story(space, story["pools"], winner)]
    rounds = story["rounds"]
    fronts = Story(
        "Pareto fronts by round",
        "Accuracy in each round's own supernet; the last round is marked.",
        rounds_chart(rounds),
    )
    settings = read_json(run / "settings.json") or {}
    threshold = settings.get("effort", {}).get("nse", {}).get("threshold", -2.0)
    trajectories = trajectories_chart(rounds, threshold)
    paths = Story(
        "Fitness indicators",
        "Each line is one operation of one layer. Blue ones are on the round's front; below the dashed line "
        "an operation is dropped.",
        trajectories or "",
    )
    return [rounds_story(space, rounds, winner), fronts, *([paths] if trajectories else [])]


def _own(
    run: Path, architecture: Architecture, latency: ChainCost, costs: dict[str, Any]
) -> tuple[Space, Sequence[int], ChainCost, dict[str, float]]:
    """Space, code and costs of the winner's blocks; of a rescaled one in a table of its own operators."""
    own = read_json(run / WINNER_COSTS)
    if own is None:
        return architecture.space, architecture.codes, latency, costs["fixed"]
    space, code = narrowed_to(architecture.space, architecture.codes)
    return space, code, ChainCost.from_json(own["latency"]), own["fixed"]


def _blocks(space: Space, codes: Sequence[int], latency: ChainCost, fixed: dict[str, float]) -> list[Block]:
    joins = latency.joins or (None,) * len(latency.unary)
    layers = iter(zip(codes, latency.unary, joins, strict=True))
    blocks = []
    for block, (name, operator) in zip(space.blocks, space.network(codes).blocks, strict=True):
        if isinstance(block, Layer):
            code, unary, join = next(layers)
            chosen = list(block.chosen(int(code)))
            seconds = float(unary[chosen].sum()) + (0.0 if join is None else float(join[len(chosen)]))
        else:
            seconds = float(fixed[name])
        skipped = operator.program.output == 0
        macs = count(operator.program).macs
        blocks.append(
            Block(
                name, "skipped" if skipped else operator.short, str(operator.output), seconds, macs, skipped
            )
        )
    return blocks


def result_lines(result: dict[str, Any]) -> list[list[str]]:
    """A header and one row per trained network.

    Raises:
        RunError: a document that lacks what a result has.
    """
    header = ["network", "measured", "predicted", "top-1 (95 %)", "MACs", "params"]
    with reading(Path("result.json")):
        networks = trained_networks(result)
    return [header] + [
        [
            row["name"],
            row["measured"],
            row["predicted"],
            f"{row['top1']} [{row['low']}, {row['high']}]",
            row["macs"],
            row["params"],
        ]
        for row in networks
    ]
