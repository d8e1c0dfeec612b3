"""Algorithms against their contract, and one of a third party that nascli has never heard of."""

import ast
import json
from importlib.metadata import EntryPoint
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from commanding import QUICK, TINY, run

import nascli
from nascli.errors import UnknownNameError
from nascli.search import registry
from nascli.search.algorithm import Algorithm, SpaceKind
from nascli.search.base import Evaluation, Score
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates
from nascli.search.registry import (
    algorithm_names,
    find_algorithm,
    find_searcher,
)
from nascli.supernet.recipes.small import small, small_supernet
from nascli.testing.algorithms import AlgorithmContract

pytestmark = pytest.mark.usefixtures("quick_measuring")


class Fewest(Algorithm):
    """A toy: of some random architectures, those with the fewest MACs come first."""

    name = "fewest-macs"
    title = "Fewest MACs"
    summary = "a toy"
    presets = MappingProxyType({"small": Preset(None, small_supernet(1), small(1))})
    accepts = frozenset({SpaceKind.SINGLE_PATH})
    example_space = "proxyless-mini"

    def find(self, problem, context):
        rows = problem.feasible.sample_distinct(20, np.random.default_rng(context.seed))
        macs = problem.costs.counted["macs"](rows)
        evaluations = [
            Evaluation(tuple(map(int, row)), Score(-float(value)), 0.0)
            for row, value in zip(rows, macs, strict=True)
        ]
        context.write_evaluations(evaluations)
        ranked = sorted(evaluations, key=lambda each: each.required_score, reverse=True)
        return RankedCandidates(tuple(ranked), "no supernet")


FEWEST = Fewest()


class TestToy(AlgorithmContract):
    def algorithm(self):
        return FEWEST


class TestRandom(AlgorithmContract):
    def algorithm(self):
        return find_algorithm("random")

    def preset(self):
        preset, _ = self.algorithm().with_searcher_settings(super().preset(), {"evaluations": 10})
        return preset


class TestPcnas(AlgorithmContract):
    def algorithm(self):
        return find_algorithm("pcnas")

    def preset(self):
        return self.algorithm().change(super().preset(), ["pcnas.draws=4", "pcnas.interval=0"])


class TestProxyless(AlgorithmContract):
    def algorithm(self):
        return find_algorithm("proxyless")


@pytest.fixture
def installed(monkeypatch):
    """The toy as the entry point of an installed package."""

    class Point(EntryPoint):
        def load(self):
            return FEWEST

    points = {FEWEST.name: Point(FEWEST.name, "toy:FEWEST", registry.GROUP)}
    monkeypatch.setattr(
        registry, "find_entry_points", lambda group: points if group == registry.GROUP else {}
    )
    return points


def test_an_algorithm_in_one_file_is_searched_with_from_the_command_line(installed, tmp_path):
    args = ["search", "--algorithm", FEWEST.name, "--space", TINY, "--constraint", "macs<=400k", "--batch", "2",
            "--retrain-epochs", "1", "--out", tmp_path / "run"]  # fmt: skip
    result = json.loads(run(*args, "--json").stdout)
    assert (
        result["algorithm"] == FEWEST.name
        and result["supernet"] == "no supernet"
        and result["macs"] <= 400_000
    )
    lines = (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()
    assert result["macs"] == -max(json.loads(line)["value"] for line in lines)
    assert FEWEST.name in (tmp_path / "run" / "report.html").read_text()
    assert FEWEST.name in run("search", "--help").stdout.replace("\n", "").replace(" ", "")
    told = run(*args[:-1], tmp_path / "other", "--population", "4").stderr
    assert "--population: nothing of fewest-macs is called so" in told


def test_no_file_outside_its_folder_compares_an_algorithm_s_name():
    """Whatever depends on the algorithm, its descriptor answers."""
    root = Path(nascli.__file__).parent
    names = set(algorithm_names())
    for path in root.rglob("*.py"):
        if path.is_relative_to(root / "search"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            compared += node.elts if isinstance(node, (ast.Tuple, ast.List, ast.Set)) else []
            compared += (
                [case.pattern.value for case in node.cases if isinstance(case.pattern, ast.MatchValue)]
                if isinstance(node, ast.Match)
                else []
            )
            words = {each.value for each in compared if isinstance(each, ast.Constant)}
            assert not words & names, f"{path.relative_to(root)} line {node.lineno} names {words & names}"


def test_options_that_mean_nothing_are_said(tmp_path):
    told = run("search", "--algorithm", "pcnas", "--space", TINY, "--constraint", "macs<=1", *QUICK,
               "--out", tmp_path / "r", expect=1).stderr  # fmt: skip
    assert "--population, --generations: nothing of pcnas is called so" in told


class Silent(Fewest):
    """Finds one architecture, and writes nothing down."""

    name = "silent"
    count = 1

    def find(self, problem, context):
        rows = problem.feasible.sample_distinct(self.count, np.random.default_rng(0)) if self.count else []
        return RankedCandidates(tuple(Evaluation(tuple(map(int, r)), Score(0.5), 0.0) for r in rows), "none")


def searched_with(monkeypatch, algorithm, out, *args, expect=0):
    class Point(EntryPoint):
        def load(self):
            if isinstance(algorithm, Exception):
                raise algorithm
            return algorithm

    name = "broken" if isinstance(algorithm, Exception) else algorithm.name
    points = {name: Point(name, "x:Y", registry.GROUP)}
    monkeypatch.setattr(
        registry, "find_entry_points", lambda group: points if group == registry.GROUP else {}
    )
    words = ["search", "--algorithm", name, "--space", TINY, "--constraint", "macs<=400k", "--batch", "2"]
    return run(*words, "--retrain-epochs", "1", "--out", out, *args, expect=expect)


def test_what_an_algorithm_does_not_write_down_the_search_does(monkeypatch, tmp_path):
    searched_with(monkeypatch, Silent(), tmp_path / "run")
    assert len((tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()) == 1
    # The package is gone: the page has what every page has, and says what it lacks.
    monkeypatch.setattr(registry, "find_entry_points", lambda group: {})
    run("report", tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "The algorithm silent is not installed here" in page and "best quarter by accuracy" in page


def test_an_algorithm_that_finds_nothing_is_told(monkeypatch, tmp_path):
    nothing = Silent()
    nothing.count = 0
    told = searched_with(monkeypatch, nothing, tmp_path / "run", expect=1).stderr
    assert "found no candidate within macs" in told


def test_a_package_that_cannot_be_loaded_is_named_and_disturbs_no_other(monkeypatch, tmp_path):
    told = searched_with(monkeypatch, ImportError("no module named x"), tmp_path / "run", expect=1).stderr
    assert "the algorithm broken of another package cannot be loaded: ImportError" in told
    assert "uniform feasible" in run("search", "--help").stdout and find_searcher("random").name == "random"
    with pytest.raises(UnknownNameError, match="guided"):
        find_searcher("nse")
