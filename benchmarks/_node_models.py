"""Every model that the onnx package tests nodes with: read, counted, kept, and timed, or refused in our own words."""

from __future__ import annotations

import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from nascli.errors import NascliError
from nascli.execution import Execution
from nascli.pipeline.measure.model_feeds import ModelFeed
from nascli.pipeline.measure.whole_models import measure_models
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.networks import network_of
from nascli.profiles.onnx.whole_models import whole_program
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces.programs import Program

QUICK = MeasurementProtocol(target=0.99, min_rounds=3, max_rounds=3, burst_seconds=1e-4, min_runs=1)
# A smoke test takes one of so many files; to generate models takes 10 s.
QUICK_STEP = 9
# Of processor time: the device may be in use by another process, and is waited for.
LIMIT_SECONDS = 30.0


@dataclass
class Answers:
    """What became of the models.

    Attributes:
        models: how many there were.
        answered: how many got an answer, by what was asked.
        refused: how many were refused in our own words.
        failures: tracebacks and hangs.
        first: the first failure.
    """

    models: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    first: str = ""


def node_models(quick: bool) -> Iterator[tuple[str, onnx.ModelProto | Path]]:
    """The models by name: those that the package generates, and those that it ships as files, or a few of the latter."""
    shipped = Path(onnx.__file__).parent / "backend" / "test" / "data"
    files = [(str(path.relative_to(shipped)), path) for path in sorted(shipped.glob("**/*.onnx"))]
    if quick:
        yield from [file for file in files if "light" not in file[0]][::QUICK_STEP]
        return
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    yield from ((case.name, case.model) for case in cases if case.model is not None)
    yield from files


def ask_all(quick: bool) -> Answers:
    """Try everything with every model."""
    found = Answers()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        execution = Execution(store=folder / "s.sqlite")
        for title, model in node_models(quick):
            path = folder / "m.onnx"
            if isinstance(model, Path):
                path = model
            else:
                path.write_bytes(model.SerializeToString())
            found.models += 1
            for what, attempt in _attempts(path, execution).items():
                _ask(found, f"{what} of {title}", what, attempt)
    return found


def _attempts(path: Path, execution: Execution) -> dict[str, Callable[[], object]]:
    def keep() -> None:
        program = whole_program(load_model(path))
        assert Program.from_canonical(program.canonical) == program, (
            "the canonical form is read as something else"
        )

    def measure() -> None:
        measure_models(
            [path], TargetSpec(batch=2), execution, feed=ModelFeed(), own_batch=True, progress=Silent(), protocol=QUICK
        )  # fmt: skip

    return {
        "count": lambda: count_onnx(path),
        "fold": lambda: fold_constants(load_model(path)),
        "keep": keep,
        "take apart": lambda: network_of(load_model(path)),
        "measure": measure,
    }


def _ask(found: Answers, title: str, what: str, attempt: Callable[[], object]) -> None:
    begun = time.process_time()
    try:
        attempt()
        found.answered[what] = found.answered.get(what, 0) + 1
    except NascliError:
        found.refused[what] = found.refused.get(what, 0) + 1
    except Exception as error:
        found.failures += 1
        place = traceback.extract_tb(error.__traceback__)[-1]
        found.first = found.first or f" (first: {title}: {type(error).__name__}: {error} in {place.name})"
    if time.process_time() - begun > LIMIT_SECONDS:
        found.failures += 1
        found.first = found.first or f" (first: {title} took {time.process_time() - begun:.0f} s)"
