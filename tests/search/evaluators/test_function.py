import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import nascli
from nascli.errors import NascliError, RunError, UnknownNameError
from nascli.progress import Silent
from nascli.search.driver import drive
from nascli.search.evaluators.function import FunctionEvaluator, command_function
from nascli.search.journal import Journal
from nascli.search.searchers.random import RandomSearcher

SPACE = nascli.space("pcnas-small-mini", width=0.25)
BUDGET = nascli.constrain(SPACE, "macs<=600k")
ROOT = Path(__file__).parents[3]


class Told(Silent):
    def __init__(self):
        self.messages = []

    def message(self, text, *remedies):
        self.messages.append(text)


def run(function, tmp_path, n=12, **values):
    journal, told = Journal(tmp_path / "j"), Told()
    try:
        searcher = RandomSearcher(BUDGET, n, np.random.default_rng(0))
        return drive(searcher, FunctionEvaluator(function, **values), journal, told), told
    finally:
        journal.close()


def test_failures_are_noted_and_the_search_goes_on(tmp_path):
    calls = []

    def moody(codes):
        calls.append(codes)
        if len(calls) % 4 == 1:
            raise RuntimeError("out of memory")
        if len(calls) % 4 == 2:
            return float("nan")
        return float(sum(codes))

    outcome, told = run(moody, tmp_path)
    assert len(outcome.evaluations) == 12 and len(outcome.ranked) == 6
    assert any("out of memory" in m for m in told.messages) and any("nan" in m for m in told.messages)
    # Again, nothing is evaluated twice, not even what failed.
    before = len(calls)
    again, _ = run(moody, tmp_path)
    assert len(calls) == before
    assert [e.architecture for e in again.ranked] == [e.architecture for e in outcome.ranked]


def test_what_hangs_is_left_behind(tmp_path):
    def slow(codes):
        if codes[0] % 2:
            time.sleep(5)
        return 1.0

    start = time.perf_counter()
    outcome, told = run(slow, tmp_path, n=8, time_limit=0.1)
    assert time.perf_counter() - start < 3
    assert 0 < len(outcome.ranked) < 8 and "no answer within 0.1 s" in told.messages[0]


def test_noise_is_taken_by_the_median_and_workers_work_side_by_side(tmp_path):
    rng = np.random.default_rng(0)

    def noisy(codes):
        time.sleep(0.02)
        return sum(codes) + float(rng.normal())

    start = time.perf_counter()
    outcome, _ = run(noisy, tmp_path, n=10, repeats=5, workers=5)
    assert time.perf_counter() - start < 10 * 5 * 0.02 * 0.8
    off = [entry.score.value - sum(entry.architecture) for entry in outcome.evaluations]
    assert np.std(off) < 0.9


def test_nothing_but_failures_is_an_error(tmp_path):
    def broken(codes):
        raise ValueError("no data")

    with pytest.raises(NascliError, match="all 12 evaluations failed.*no data"):
        run(broken, tmp_path)
    with pytest.raises(NascliError, match="workers >= 1"):
        FunctionEvaluator(broken, workers=0)


def test_a_command_is_an_evaluator(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import json, sys\ncodes = json.load(sys.stdin)\nprint('training')\nprint(sum(codes))\n"
    )
    evaluate = command_function([sys.executable, str(script)], time_limit=20)
    assert evaluate((1, 2, 3)) == 6.0
    script.write_text("import sys\nsys.exit('no such file')\n")
    with pytest.raises(NascliError, match="ended with 1: no such file"):
        evaluate((1,))
    script.write_text("pass")
    with pytest.raises(NascliError, match="printed nothing"):
        evaluate((1,))


@pytest.mark.parametrize("algorithm", ["guided", "spos", "evolution", "random"])
def test_optimise_with_a_function_of_ones_own(tmp_path, algorithm):
    best = nascli.optimise(lambda c: -float(sum(c)), BUDGET, evaluations=20, algorithm=algorithm,
                           journal=tmp_path / "j")  # fmt: skip
    assert len(best) <= 20 and best[0].score.value == max(e.score.value for e in best)
    assert BUDGET.contains(np.array([e.architecture for e in best], dtype=SPACE.dtype)).all()
    with pytest.raises(UnknownNameError):
        nascli.optimise(lambda c: 0.0, BUDGET, algorithm="magic")


def test_a_journal_belongs_to_its_space_and_its_evaluator(tmp_path):
    def cheap(codes):
        return -float(sum(codes))

    def dear(codes):
        return float(sum(codes))

    file = tmp_path / "j.jsonl"
    first = nascli.optimise(cheap, BUDGET, evaluations=10, journal=file)
    again = nascli.optimise(cheap, BUDGET, evaluations=10, journal=file)
    assert [e.architecture for e in first] == [e.architecture for e in again]
    with pytest.raises(RunError, match=r"something else: evaluator was '.*cheap' and is now '.*dear'"):
        nascli.optimise(dear, BUDGET, evaluations=10, journal=file)
    other = nascli.constrain(nascli.space("proxyless-mini", width=0.5), "macs<=1G")
    with pytest.raises(RunError, match="something else: space was"):
        nascli.optimise(cheap, other, evaluations=10, journal=file)


@pytest.mark.parametrize("algorithm", ["guided", "spos", "random", "evolution"])
@pytest.mark.parametrize("evaluations", [7, 30, 99])
def test_optimise_makes_as_many_evaluations_as_it_is_given(algorithm, evaluations):
    if algorithm == "guided" and evaluations == 99:
        pytest.skip("takes long, and its number of evaluations is its own setting")
    asked = []
    nascli.optimise(lambda c: asked.append(c) or 0.5, BUDGET, evaluations=evaluations, algorithm=algorithm)
    assert len(asked) == len(set(asked)) == evaluations


@pytest.mark.parametrize("algorithm", ["guided", "spos", "random"])
def test_optimise_says_that_everything_failed(algorithm):
    def broken(codes):
        raise ValueError("no card")

    with pytest.raises(NascliError, match=r"all 30 evaluations failed; the first: ValueError: no card"):
        nascli.optimise(broken, BUDGET, evaluations=30, algorithm=algorithm)


def test_what_a_command_has_started_ends_with_it(tmp_path):
    mark = tmp_path / "alive"
    child = f"import time, pathlib\nfor _ in range(600):\n pathlib.Path({str(mark)!r}).write_text(str(time.time())); time.sleep(0.05)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(subprocess.TimeoutExpired):
        command_function([sys.executable, "-c", parent], time_limit=1.5)((1, 2))
    assert mark.exists()
    time.sleep(0.3)
    seen = mark.read_text()
    time.sleep(0.4)
    assert mark.read_text() == seen


def test_the_documented_example_runs_and_is_short():
    file = ROOT / "examples" / "my_evaluator.py"
    code = [
        line for line in file.read_text().splitlines() if line.strip() and not line.startswith(('"""', "Run"))
    ]
    assert len(code) < 30
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout.split()[0]) > 0
