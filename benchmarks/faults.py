"""Faults on purpose: commands that are killed or disturbed at random moments, parsers with damaged input."""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from benchmarks._disturbances import DISTURBANCES, Disturbance
from benchmarks._fuzz import PARSERS, Result, fuzz
from benchmarks._kills import SPACE, jobs, prepared, trial
from benchmarks._node_models import ask_all
from benchmarks._report import Target, parse_arguments, write

NOTES = """
Kills: each command is started, killed with SIGKILL after a random time, and started again, several times in a row; then
it runs to its end. Equal: the table, weights, files, or evaluations (architecture by architecture) equal those of an
undisturbed run on a copy of the same store. Lost: samples that a store had before a kill and not after it. Doubled:
operators with a round that is stored more than once or not at all. Disturbances: a disk (tmpfs) that fills up
at ever later moments and is then enlarged; folders of another user; an address space that is too small; SIGINT twice; a
terminal that disappears; two runs in one folder; a table made 30 % too fast; evaluators that fail in five ways; NaN in
training. A disturbance is survived if the command ends by itself with a message and no traceback (except if memory is
missing, where libraries may end the process), and if the continued run is as if undisturbed. Parsers: valid inputs with
bytes flipped, cut, doubled, or swapped, words inserted, or JSON values replaced. Inputs that reach new lines of nascli
(the first 2,500 are watched) are kept and changed further. A parser may return a result or raise one of nascli's own
errors; anything else, or more than 5 s for one input, is a failure. Models of nodes: every model with which the onnx
package tests its own nodes is counted, folded, kept in canonical form, taken apart, and timed by ONNX Runtime; an answer or
one of nascli's own errors is expected here, too.
"""


def _disturb(number: int, home: Path, folder: Path, tries: int) -> list[Disturbance]:
    scratch = folder / f"disturbance{number}"
    scratch.mkdir()
    try:
        return DISTURBANCES[number](home, scratch, tries)
    except Exception as error:
        # Hours of the rest are not lost to one that could not be told apart.
        broken = Disturbance(f"{DISTURBANCES[number].__name__}: broken off")
        broken.note(False, f"{type(error).__name__}: {error}")
        return [broken]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fuzzed(name: str, inputs: int) -> tuple[str, Result]:
    with tempfile.TemporaryDirectory() as folder:
        return name, fuzz(name, inputs, Path(folder))


def main() -> None:
    arguments = parse_arguments(__doc__ or "", kills=50, inputs=10_000, tries=8)
    quick = arguments.quick
    kills, inputs, tries = (1, 6, 1) if quick else (arguments.kills, arguments.inputs, arguments.tries)
    rows: list[list[str]] = []
    begun = time.time()
    unequal = lost = doubled = tracebacks = not_survived = failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        chosen = [job for job in jobs() if not quick or job.name == "lut import"]
        homes = prepared(folder, {job.space for job in chosen} | {SPACE})
        # Two at a time: nothing here is a timing, and each has a home of its own.
        with ThreadPoolExecutor(2) as pool:
            outcomes = pool.map(
                lambda pair: trial(
                    pair[1], homes[pair[1].space], folder / f"scratch{pair[0]}", kills, pair[0]
                ),
                enumerate(chosen),
            )
            for job, found in zip(chosen, outcomes, strict=True):
                unequal += not found.equal
                lost, doubled = lost + found.lost, doubled + found.doubled
                tracebacks += found.tracebacks
                rows.append([f"{job.name}: killed", f"{found.tried} times; equal in the end: {'yes' if found.equal else 'NO'}; lost {found.lost}, doubled {found.doubled}, tracebacks {found.tracebacks}"])  # fmt: skip
        numbers = (4, 7) if quick else range(len(DISTURBANCES))
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            waiting = [pool.submit(_disturb, number, homes[SPACE], folder, tries) for number in numbers]
            for disturbance in (disturbance for done in waiting for disturbance in done.result()):
                not_survived += disturbance.tried - disturbance.survived
                seen = f" ({'; '.join(disturbance.faults[:2])})" if disturbance.faults else ""
                rows.append(
                    [
                        disturbance.name,
                        f"{disturbance.tried} times, survived {disturbance.survived}{seen}".replace("|", "/"),
                    ]
                )
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for name, result in pool.map(_fuzzed, PARSERS, [inputs] * len(PARSERS)):
            failures += result.failures
            rows.append([f"{name}: inputs", f"{result.tried:,}; refused {result.refused:,}; lines reached {result.lines}, inputs kept {result.kept}; failures {result.failures}{result.first}; slowest {result.slowest:.2f} s".replace("|", "/")])  # fmt: skip
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        answers = pool.submit(ask_all, quick).result()
    failures += answers.failures
    asked = "; ".join(f"{what}: {count:,} answers, {answers.refused.get(what, 0):,} refusals" for what, count in answers.answered.items())  # fmt: skip
    rows.append(["models of nodes", f"{answers.models:,}; {asked}; failures {answers.failures}{answers.first}".replace("|", "/")])  # fmt: skip
    rows.append(["minutes", f"{(time.time() - begun) / 60:.1f}"])
    targets = [
        Target("results unequal to the undisturbed ones", unequal, 0, False),
        Target("samples lost", lost, 0, False),
        Target("samples doubled", doubled, 0, False),
        Target("tracebacks of killed commands", tracebacks, 0, False),
        Target("disturbances not survived", not_survived, 0, False),
        Target("inputs with a traceback or a hang", failures, 0, False),
    ]
    write("faults", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
