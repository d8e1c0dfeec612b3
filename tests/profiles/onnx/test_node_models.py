"""A sample of the models that the onnx package tests nodes with; the benchmark of faults takes all of them."""

import importlib
from collections import Counter
from pathlib import Path

import onnx
import pytest

from nascli.errors import NascliError
from nascli.profiles.onnx.folding import fold_constants
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.profiles.onnx.model_files import load_model
from nascli.profiles.onnx.whole_models import index_values, whole_program
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.spaces.programs import Program

# Modules of the package's node tests; all of them together take 10 s to be made.
MODULES = (
    "batch_normalization", "conv", "convtranspose", "dynamicquantizelinear", "einsum", "elu", "expand", "gather", "if_", "lstm", "loop",
    "matmul", "nonmaxsuppression", "onehot", "optionalgetelement", "pad", "qlinearmatmul", "quantizelinear", "resize", "scan",
    "scatternd", "sequenceinsert", "shape", "slice", "split", "string_concat", "tile", "unique", "where", "xor",
)  # fmt: skip
EACH = 3


def sample():
    from onnx.backend.test.case import node

    for module in MODULES:
        importlib.import_module(f"{node.__name__}.{module}")
    kinds = Counter()
    chosen = []
    for case in node._NodeTestCases:
        if case.model is not None:
            kind = case.model.graph.node[0].op_type
            kinds[kind] += 1
            if kinds[kind] <= EACH:
                chosen.append((case.name, case.model))
    return chosen


def attempts(path):
    """What is tried with a model, each by its name."""
    loaded = []

    def load():
        loaded.append(load_model(path))

    def keep():
        program = whole_program(loaded[0])
        assert Program.from_canonical(program.canonical) == program

    def time():
        session = OrtCpu().load(loaded[0].data, RuntimeOptions(inputs=index_values(loaded[0])))
        try:
            assert session.time(2).seconds.min() > 0
        finally:
            session.close()

    return {
        "count": lambda: count_onnx(path),
        "load": load,
        "fold": lambda: fold_constants(loaded[0]),
        "keep": keep,
        "time": time,
    }


def test_each_gives_an_answer_or_one_of_our_errors(tmp_path):
    answers = {}
    cases = sample()
    for name, model in cases:
        path = Path(tmp_path / f"{name}.onnx")
        onnx.save(model, path)
        for what, attempt in attempts(path).items():
            try:
                attempt()
                answers[what] = answers.get(what, 0) + 1
            except NascliError as error:
                assert str(error).strip()
                if what == "load":
                    break
            except Exception as error:
                pytest.fail(f"{what} of {name}: {type(error).__name__}: {error}")
    assert len(cases) >= 60 and answers["load"] > 0.75 * len(cases) and answers["time"] > 0.5 * len(cases)
