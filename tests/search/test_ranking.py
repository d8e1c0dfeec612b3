import json

import numpy as np
import pytest

from nascli.costmodel import Constraint, counted
from nascli.costmodel.budgets import CostSet, counted_costs
from nascli.progress import Silent
from nascli.search.preset import Preset
from nascli.search.problem import SearchContext, SearchProblem
from nascli.search.ranking import rank_with_supernet
from nascli.search.run_folder import EVALUATIONS, RunFolder
from nascli.search.searchers.random import RandomSearcher
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.recipes.small import small, small_supernet

SPACE = load_space("proxyless-mini:resolution=8,width=0.25,depth=1")


@pytest.fixture
def problem():
    limit = float(np.median(counted(SPACE, "macs")(SPACE.sample(200, np.random.default_rng(0)))))
    constraints = (Constraint("macs", -np.inf, limit),)
    costs = CostSet(counted_costs(SPACE, constraints))
    return SearchProblem(
        SPACE, load_images("digits", 8), constraints, costs, costs.feasible_set(SPACE, constraints), None
    )


def rank(problem, path):
    preset = Preset(4, small_supernet(1), small(1), calibration_images=64)
    with RunFolder(path, {}) as folder:
        context = SearchContext(preset, 0, "digits", folder, Silent(), None)
        return rank_with_supernet(RandomSearcher, 4, problem, context)


def test_feasible_architectures_are_ranked_by_inherited_weights(problem, tmp_path):
    candidates = rank(problem, tmp_path / "a")
    scores = [each.required_score for each in candidates.ranked]
    assert len(scores) == 4 and scores == sorted(scores, reverse=True)
    rows = np.array([each.architecture for each in candidates.ranked], dtype=SPACE.dtype)
    assert problem.feasible.contains(rows).all() and all(0 <= score.value <= 1 for score in scores)
    lines = (tmp_path / "a" / EVALUATIONS).read_text().splitlines()
    assert {tuple(json.loads(line)["codes"]) for line in lines} == set(map(tuple, rows.tolist()))
    # The supernet is shared, and what the journal holds is not evaluated again.
    assert rank(problem, tmp_path / "b").identity == candidates.identity
    again = rank(problem, tmp_path / "a")
    assert [(each.architecture, each.score) for each in again.ranked] == [
        (each.architecture, each.score) for each in candidates.ranked
    ]
    assert (tmp_path / "a" / EVALUATIONS).read_text().splitlines() == lines
