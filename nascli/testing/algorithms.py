"""The contract of an algorithm: subclass `AlgorithmContract`, name an algorithm, and let pytest collect it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from nascli.costmodel import Constraint, counted
from nascli.costmodel.budgets import CostSet, counted_costs
from nascli.errors import ConstraintError
from nascli.lut import Measurement
from nascli.progress import Silent
from nascli.report.story import Story
from nascli.search.algorithm import Algorithm, SearchRecord, SpaceKind, kinds_of
from nascli.search.base import Choices, Score
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.search.run_folder import STORY, RunFolder
from nascli.search.verification import Finalist
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace
from nascli.supernet.data.images import load_images

# One space of each kind, to test which of them an algorithm refuses.
_SPACES = {
    SpaceKind.SINGLE_PATH: "proxyless-mini",
    SpaceKind.MULTI_BRANCH: "nse-19-mini",
    SpaceKind.STAGED: "nss-expanded-mini",
    SpaceKind.LOW_BIT: "spos-resnet18-bits-mini",
}

Search = tuple[SearchProblem, SearchContext, RankedCandidates]


class AlgorithmContract:
    """Tests that hold for any search algorithm.

    Attributes:
        space: A small space that the algorithm searches; its resolution is that of the data.
        data: The name of a data set that is at hand.
        share: The share of the space's architectures that keeps the budget on MACs.
    """

    space = "proxyless-mini:resolution=8,width=0.25,depth=1"
    data = "digits"
    share = 0.5
    _shared_search: ClassVar[Search]

    def algorithm(self) -> Algorithm:
        """Return the algorithm under test."""
        raise TypeError("override algorithm()")

    def preset(self) -> Preset:
        """Return settings with which a search takes seconds; by default the small preset with one epoch each."""
        algorithm = self.algorithm()
        preset = algorithm.with_epochs(algorithm.preset("small"), 1)
        return replace(preset, finalists=2)

    def limit(self, space: Space | StagedSpace) -> float:
        """Return a budget on MACs that about `share` of the architectures of a space keeps."""
        draws = space.sample(500, np.random.default_rng(0))
        macs = space.macs(draws) if isinstance(space, StagedSpace) else counted(space, "macs")(draws)
        return float(np.quantile(macs, self.share))

    def search(self, folder: Path) -> Search:
        """Search in a folder, under a budget on MACs alone, so that nothing is measured."""
        named = load_space_of_any_kind(self.space)
        images = load_images(self.data, named.input.height)
        constraints = (Constraint("macs", -np.inf, self.limit(named)),)
        with RunFolder(folder, {"contract": self.algorithm().name}) as run:
            context = SearchContext(self.preset(), 0, self.data, run, Silent(), _cannot_measure)
            request = SpaceRequest(named, images, constraints)
            space, _ = self.algorithm().prepare_space(request, context)
            costs = CostSet(counted_costs(space, constraints))
            feasible = costs.feasible_set(space, constraints)
            problem = SearchProblem(space, images, constraints, costs, feasible, None)
            return problem, context, self.algorithm().find(problem, context)

    def shared_search(self) -> Search:
        """Return the one search that several tests examine; the first call runs it."""
        if "_shared_search" not in type(self).__dict__:
            type(self)._shared_search = self.search(Path(tempfile.mkdtemp(prefix="nascli-contract-")))
        return type(self)._shared_search

    def test_it_says_what_it_is(self) -> None:
        """It has a name for the command line and a title, and presets that can be written to a file."""
        algorithm = self.algorithm()
        assert algorithm.name == algorithm.name.lower() and " " not in algorithm.name
        assert algorithm.title and algorithm.summary and "small" in algorithm.presets
        for preset in algorithm.presets.values():
            document = preset.to_json()
            assert json.loads(json.dumps(document, allow_nan=False)).keys() == document.keys()

    def test_it_accepts_its_example_and_refuses_other_kinds_of_spaces(self) -> None:
        """A space that it cannot search is refused before anything is trained."""
        algorithm = self.algorithm()
        algorithm.require_accepts(load_space_of_any_kind(algorithm.example_space))
        algorithm.require_accepts(load_space_of_any_kind(self.space))
        for spec in _SPACES.values():
            space = load_space_of_any_kind(spec)
            if not kinds_of(space) <= algorithm.accepts:
                with pytest.raises(ConstraintError, match=algorithm.title):
                    algorithm.require_accepts(space)

    def test_it_finds_feasible_architectures(self) -> None:
        """Candidates are distinct architectures that keep the budget, each with a score."""
        problem, _, candidates = self.shared_search()
        rows = [evaluation.architecture for evaluation in candidates.ranked]
        assert rows and len(set(rows)) == len(rows) and candidates.identity
        assert problem.feasible.contains(np.array(rows, dtype=problem.space.dtype)).all()
        assert all(np.isfinite(evaluation.value) for evaluation in candidates.ranked)

    def test_a_finished_search_is_not_repeated(self) -> None:
        """Run again in the same folder, it finds the same."""
        _, context, candidates = self.shared_search()
        _, _, again = self.search(context.folder.path)
        assert _scores(again) == _scores(candidates) and again.identity == candidates.identity

    def test_the_same_seed_finds_the_same(self, tmp_path: Path) -> None:
        """Run in another folder, it finds the same."""
        _, _, candidates = self.shared_search()
        _, _, elsewhere = self.search(tmp_path / "elsewhere")
        assert _scores(elsewhere) == _scores(candidates)

    def test_it_chooses_a_winner_among_the_finalists(self) -> None:
        """The winner is one of the finalists, and only finalists are trained."""
        _, _, candidates = self.shared_search()
        finalists = [Finalist(evaluation, within=True) for evaluation in candidates.ranked[:2]]

        def train(finalist: Finalist) -> float:
            return float(finalists.index(finalist))

        assert self.algorithm().choose(finalists, train) in finalists

    def test_it_tells_its_story(self) -> None:
        """Its report has pictures, which are drawn from the files of the run alone."""
        problem, context, candidates = self.shared_search()
        file = context.folder.file(STORY)
        story = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        settings = json.loads(json.dumps(context.preset.to_json()))["settings"]
        winner = candidates.ranked[0].architecture
        record = SearchRecord(problem.space, winner, candidates.ranked, story, settings)
        stories = self.algorithm().stories(record)
        assert stories and all(isinstance(each, Story) and "<svg" in each.svg for each in stories)


def _scores(candidates: RankedCandidates) -> list[tuple[Choices, Score | None]]:
    """Return what was found, without how long it took."""
    return [(evaluation.architecture, evaluation.score) for evaluation in candidates.ranked]


def _cannot_measure(networks: Sequence[Network]) -> list[Measurement]:
    raise AssertionError("a search under counted budgets measures nothing")
