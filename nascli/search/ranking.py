"""Candidates ranked by inherited weights: one supernet of the whole space, trained once, then searched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nascli.costmodel import FeasibleSet
from nascli.progress import Phase
from nascli.random_streams import RandomStream, generator
from nascli.search.base import Evaluator, Searcher
from nascli.search.driver import drive
from nascli.search.evaluators.batched import LocalEvaluator, RayEvaluator
from nascli.search.evaluators.shared import SharedEvaluator
from nascli.search.phases import evaluation_phase, training_phase
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.supernet.evaluation.scorer import TreeScorer, pack_weights, prefix_batches, scorer_from_weights
from nascli.supernet.training import distributed
from nascli.supernet.training.one_shot import train_shared_supernet

MakeSearcher = Callable[[FeasibleSet, Any, np.random.Generator], Searcher]


def ranking_phases(request: SpaceRequest, preset: Preset, evaluations: int | None) -> Sequence[Phase]:
    """Return the phases of `rank_with_supernet`.

    Args:
        request: The space and the data.
        preset: All settings of the algorithm.
        evaluations: How many architectures are evaluated at most; None where it is not known.
    """
    return (
        training_phase("training the supernet", len(request.images.train), preset.supernet),
        evaluation_phase("searching", evaluations),
    )


def rank_with_supernet(
    make_searcher: MakeSearcher, settings: Any, problem: SearchProblem, context: SearchContext
) -> RankedCandidates:
    """Rank architectures by the weights that they inherit from one supernet of the whole space.

    The supernet is trained on uniformly sampled architectures, or loaded where the context names one. A searcher then
    asks for architectures, and their validation top-1 with inherited weights is their score.

    Args:
        make_searcher: Makes a searcher from a feasible set, settings, and a random generator.
        settings: The settings of the searcher.
        problem: The problem to solve.
        context: Seed, preset, folder, and where to evaluate: on a Ray cluster if it has the address of one.

    Returns:
        All evaluated architectures, best first, with the digest of the supernet.

    Raises:
        NascliError: Every evaluation failed.
        CheckpointError: The supernet that the context names belongs to something else.
    """
    shared = train_shared_supernet(
        problem.space,
        problem.images,
        context.preset.supernet,
        seed=context.seed,
        progress=context.progress,
        given=None if context.supernet is None else str(context.supernet),
    )
    calibration = context.preset.calibration_images
    evaluator: Evaluator
    if context.ray is None:
        scorer = TreeScorer(shared.supernet, problem.images, calibration=calibration)
        several = distributed.world_size() > 1
        evaluator = (SharedEvaluator if several else LocalEvaluator)(scorer, prefix_batches)
    else:
        arguments = (
            problem.space.spec,
            context.data,
            pack_weights(shared.supernet),
            calibration,
            1,
            context.data_options,
        )
        evaluator = RayEvaluator(scorer_from_weights, arguments, prefix_batches, address=context.ray)
    searcher = make_searcher(problem.feasible, settings, generator(context.seed, RandomStream.SEARCHER))
    journal = context.folder.journal()
    try:
        outcome = drive(searcher, evaluator, journal, context.progress)
    finally:
        journal.close()
        evaluator.close()
    return RankedCandidates(tuple(outcome.ranked), shared.identity)
