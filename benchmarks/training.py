"""The training engine: reading images, steps, several processes, and the papers' presets.

The parts can be run one at a time; the results of the others are kept, each with its date.
"""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from benchmarks import _training_data, _training_presets, _training_processes, _training_step
from benchmarks._report import RESULTS, Target, write

Case = Callable[[bool], tuple[list[list[str]], list[Target]]]
NOTES = {
    "data": _training_data.NOTES,
    "step": _training_step.NOTES,
    "memory": _training_step.MEMORY_NOTES,
    "processes": _training_processes.NOTES,
    "presets": _training_presets.NOTES,
}


def all_cases() -> dict[str, Case]:
    """What is run and written at a time, as PART or PART/CASE."""
    cases: dict[str, Case] = {
        "data": _training_data.run,
        "step": _training_step.run,
        "memory": _training_step.run_memory,
        "processes": _training_processes.run,
    }
    for name in _training_presets.CASES:
        cases[f"presets/{name}"] = partial(_training_presets.run_case, name)
    return cases


def chosen_cases(arguments: argparse.Namespace, known: Collection[str]) -> list[str]:
    """The names of the cases that are to be run."""
    smoke = "presets/smoke"
    if arguments.preset:
        return [f"presets/{name}" for name in arguments.preset]
    names = [name for name in all_cases() if name.partition("/")[0] in (arguments.part or NOTES)]
    if arguments.quick:
        # By itself, a smoke test leaves out what starts several processes; name a part to try it.
        parts = arguments.part or ("data", "step", "memory")
        return [name for name in names if name in parts or (name == smoke and "presets" in parts)]
    return [name for name in names if name != smoke and not (arguments.missing and name in known)]


def earlier_results() -> dict[str, Any]:
    """What other runs of this benchmark found, by case."""
    file = RESULTS / "training.json"
    return json.loads(file.read_text()).get("points", {}) if file.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: small sizes, few repeats")
    parser.add_argument("--part", choices=NOTES, action="append", help="run this part (several times: these parts)")  # fmt: skip
    parser.add_argument("--preset", choices=_training_presets.CASES, action="append", help="run the dry run of this preset; with --quick at 32 pixels")  # fmt: skip
    parser.add_argument("--missing", action="store_true", help="leave out what the results have already")
    arguments = parser.parse_args()
    results = {} if arguments.quick else earlier_results()
    cases = all_cases()
    for name in chosen_cases(arguments, results):
        rows, targets = cases[name](arguments.quick)
        results[name] = {
            "date": datetime.date.today().isoformat(),
            "rows": rows,
            "targets": [[t.name, t.value, t.target, t.at_least] for t in targets],
        }
        # Written after each case: one that fails later, or is stopped, loses nothing.
        write_results({case: results[case] for case in cases if case in results}, arguments.quick)


def write_results(results: dict[str, Any], quick: bool) -> None:
    """Write the results of all cases that were ever run."""
    parts = {name.partition("/")[0] for name in results}
    write(
        "training",
        ["part", "date", "what", "ratio or figure: median [min, max]", "figures"],
        [[name, case["date"], *row] for name, case in results.items() for row in case["rows"]],
        [Target(*values) for case in results.values() for values in case["targets"]],
        "\n".join(notes.strip() for part, notes in NOTES.items() if part in parts),
        quick,
        points=results,
    )


if __name__ == "__main__":
    main()
