"""From a run's folder to its report, and to the lines that the terminal shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import ChainCost
from nascli.errors import RunError
from nascli.pipeline.run_folder import read_json, reading
from nascli.report.page import Block, Evaluated, render
from nascli.search.journal import Journal
from nascli.spaces import Architecture, count
from nascli.spaces.space import Layer
from nascli.units import format_count, format_seconds


def write_report(run: Path) -> Path:
    """Write `run`/report.html and return its path.

    Raises:
        RunError: the folder is no finished run.
    """
    result = read_json(run / "result.json")
    costs = read_json(run / "costs.json")
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
        text = render(result, evaluated, _blocks(architecture, latency, costs))
    page = run / "report.html"
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"cannot write {page}: {error.strerror}") from error
    return page


def _blocks(architecture: Architecture, latency: ChainCost, costs: dict[str, Any]) -> list[Block]:
    layers = iter(zip(architecture.codes, latency.unary, strict=True))
    fixed = costs["fixed"]
    blocks = []
    for block, (name, operator) in zip(architecture.space.blocks, architecture.network.blocks, strict=True):
        if isinstance(block, Layer):
            code, unary = next(layers)
            seconds = float(unary[code])
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
    with reading(Path("result.json")):
        return _lines(result)


def _lines(result: dict[str, Any]) -> list[list[str]]:
    rows = [["network", "measured", "predicted", "top-1 (95 %)", "MACs", "params"]]
    winner = {
        "measured_latency_s": result["measured_latency_s"],
        "predicted_latency_s": result["predicted_latency_s"]["value"],
        "top1": result["retrained_top1"],
        "top1_interval": result["retrained_top1_interval"],
        "macs": result["macs"],
        "params": result["params"],
    }
    names = {"random": "random feasible", "largest": "largest feasible"}
    for name, row in [("winner", winner), *result["baselines"].items()]:
        low, high = row["top1_interval"]
        rows.append(
            [
                names.get(name, name),
                format_seconds(row["measured_latency_s"]),
                format_seconds(row["predicted_latency_s"]),
                f"{row['top1']:.2%} [{low:.1%}, {high:.1%}]",
                format_count(row["macs"]),
                format_count(row["params"]),
            ]
        )
    return rows
