"""The descriptor of ProxylessNAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.errors import ConstraintError, Remedy
from nascli.progress import Phase
from nascli.search.algorithm import Algorithm, SearchRecord, SpaceKind, with_aliases
from nascli.search.base import Evaluation, Score
from nascli.search.phases import evaluation_phase, training_phase
from nascli.search.preset import Preset
from nascli.search.problem import (
    RESERVE,
    RankedCandidates,
    SearchContext,
    SearchProblem,
    SpaceRequest,
)
from nascli.search.proxyless.settings import PRESETS, ProxylessStream
from nascli.search.run_folder import STORY

if TYPE_CHECKING:
    from nascli.report.story import Story
    from nascli.search.verification import Finalist


class ProxylessNas(Algorithm):
    """The probabilities of operators are learned by gradient beside the weights (Cai, Zhu and Han 2019)."""

    name = "proxyless"
    title = "ProxylessNAS"
    summary = "ProxylessNAS-style: probabilities of operators learned by gradient beside the weights"
    presets = PRESETS
    streams = ProxylessStream
    accepts = frozenset({SpaceKind.SINGLE_PATH, SpaceKind.LOW_BIT})
    example_space = "proxyless-mini"
    trains_as_it_searches = True
    aliases = with_aliases(gates="settings")

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the training, and the evaluation of the most probable architectures."""
        return (
            training_phase(
                "training", len(request.images.train), preset.supernet, rate="training with choices"
            ),
            evaluation_phase("evaluating the most probable networks", RESERVE * preset.finalists),
        )

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Train weights and probabilities, and rank the most probable feasible architectures.

        Raises:
            ConstraintError: The target of the problem has no upper bound.
        """
        from nascli.costmodel import k_best
        from nascli.search.proxyless.engine import ProxylessEngine

        target = problem.target
        if not np.isfinite(target.constraint.high):
            raise ConstraintError(f"a gradient aims at an upper bound, and {target.constraint} has none.")
        engine = ProxylessEngine(
            problem.space,
            problem.images,
            context.preset.supernet,
            context.preset.settings,
            target,
            seed=context.seed,
            file=context.folder.file("training/supernet.safetensors"),
            progress=context.progress,
        )
        layers = engine.train()
        population = k_best(problem.feasible, layers, RESERVE * context.preset.finalists)
        accuracies = engine.accuracies(population, context.preset.calibration_images)
        rows = [tuple(map(int, row)) for row in population.tolist()]
        log_probabilities = [
            sum(float(layer[choice]) for layer, choice in zip(layers, row, strict=True)) for row in rows
        ]
        context.folder.write(STORY, {"log_probabilities": [layer.tolist() for layer in layers]})
        evaluations = [
            Evaluation(row, Score(float(top1), log_probability), 0.0)
            for row, top1, log_probability in zip(rows, accuracies, log_probabilities, strict=True)
        ]
        context.write_evaluations(evaluations)
        return RankedCandidates(tuple(evaluations), "a supernet of this run, trained with its choices")

    def choose(self, fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
        """Choose the most probable finalist, as in the paper; candidates are in the order of their probability."""
        return fitting[0]

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many finalists: the most probable architectures that are evaluated are a multiple of them."""
        finalists = 2 * int(preset["finalists"])
        words = "With more finalists, more of the probable networks are evaluated."
        return (Remedy(words=words, arguments={"changes": f"finalists={finalists}"}),)

    def stories(self, record: SearchRecord) -> list[Story]:
        """Return what the gradient chose, and what good architectures have in common."""
        from nascli.search.proxyless.story import probabilities_story

        probabilities = record.story["log_probabilities"]
        return [probabilities_story(record.space, probabilities, record.winner), *super().stories(record)]


ALGORITHMS = (ProxylessNas(),)
