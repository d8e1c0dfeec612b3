"""Breaking things on purpose: commands killed at random moments, parsers fed with what is damaged or hostile."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks._fuzz import PARSERS, fuzz
from benchmarks._kills import jobs, prepared, trial
from benchmarks._report import Target, parse_arguments, write

NOTES = """
Kills: each command is started, killed with SIGKILL after a random time, and started again, so often in a row; then it runs to
its end. Equal: table, weights or evaluations (architecture by architecture) as of an undisturbed run on a copy of the same
store. Lost: samples of a store that were there before a kill and not after. Doubled: operators whose rounds are not each there
once. Parsers: texts from a grammar of near misses, and valid files with bytes flipped, cut, doubled or swapped; a parser may
answer, or refuse with an error of nascli's own. Anything else, or more than 5 s for one input, is a failure. Not guided by
coverage: no such fuzzer has a wheel for this platform.
"""


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    kills, inputs = (2, 40) if quick else (50, 10_000)
    rows: list[list[str]] = []
    begun = time.time()
    unequal = lost = doubled = tracebacks = 0
    with tempfile.TemporaryDirectory() as folder:
        chosen = [job for job in jobs() if not quick or job.name in ("profile", "lut import")]
        homes = prepared(Path(folder), {job.space for job in chosen})
        # Two at a time: nothing here is a timing, and each has a home of its own.
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(
                pool.map(
                    lambda pair: trial(
                        pair[1], homes[pair[1].space], Path(folder) / f"scratch{pair[0]}", kills, pair[0]
                    ),
                    enumerate(chosen),
                )
            )
        for job, found in zip(chosen, outcomes, strict=True):
            unequal += not found.equal
            lost, doubled, tracebacks = (
                lost + found.lost,
                doubled + found.doubled,
                tracebacks + found.tracebacks,
            )
            rows.append([f"{job.name}: killed", f"{found.tried} times; equal in the end: {'yes' if found.equal else 'NO'}; lost {found.lost}, doubled {found.doubled}, tracebacks {found.tracebacks}"])  # fmt: skip
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in PARSERS:
            result = fuzz(name, inputs, Path(folder))
            failures += result.failures
            rows.append([f"{name}: inputs", f"{result.tried:,}; refused {result.refused:,}; failures {result.failures}{result.first}; slowest {result.slowest:.2f} s"])  # fmt: skip
    rows.append(["minutes", f"{(time.time() - begun) / 60:.1f}"])
    targets = [
        Target("results unequal to the undisturbed ones", unequal, 0, False),
        Target("samples lost", lost, 0, False),
        Target("samples doubled", doubled, 0, False),
        Target("tracebacks of killed commands", tracebacks, 0, False),
        Target("inputs with a traceback or a hang", failures, 0, False),
    ]
    write("faults", ["what", "figure"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
