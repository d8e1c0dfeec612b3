"""The descriptor of PC-NAS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.errors import Remedy
from nascli.progress import Phase
from nascli.search.algorithm import Algorithm, SearchRecord, SpaceKind
from nascli.search.base import Evaluation, Score
from nascli.search.pcnas.settings import PRESETS, PcnasSettings, PcnasStream
from nascli.search.phases import evaluation_phase, training_phase
from nascli.search.plan import PlanRequest, TrainingPhase
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.search.run_folder import STORY
from nascli.search.winner_by_training import choose_by_training
from nascli.spaces.space import Space

if TYPE_CHECKING:
    from nascli.report.story import Story
    from nascli.search.verification import Finalist


class PcNas(Algorithm):
    """A pool of partial models grows layer by layer while the supernet trains on it (Li et al. 2020)."""

    name = "pcnas"
    title = "PC-NAS"
    summary = "PC-NAS: a pool of partial models grows layer by layer"
    presets = PRESETS
    streams = PcnasStream
    accepts = frozenset({SpaceKind.SINGLE_PATH, SpaceKind.LOW_BIT})
    example_space = "pcnas-small-mini"
    trains_as_it_searches = True
    # The settings decide how long the supernet trains.
    aliases = MappingProxyType({"retrain_epochs": "retraining.epochs", "batch": "supernet.batch"})

    def with_epochs(self, preset: Preset, epochs: int) -> Preset:
        """Return the preset with another number of epochs of uniform training before the pool grows."""
        return replace(preset, settings=replace(preset.settings, warmup=epochs))

    def phases(self, preset: Preset, request: PlanRequest) -> tuple[TrainingPhase, ...]:
        """Return one phase: the supernet, uniformly and then on the pools of all layers."""
        settings: PcnasSettings = preset.settings
        assert isinstance(request.space, Space)
        epochs = settings.warmup + settings.interval * len(request.space.layers)
        return (TrainingPhase("supernet, uniformly and then on the pools", "supernet", epochs),)

    def trained_finalists(self, preset: Preset) -> int:
        """Return the number of finalists: all of them train."""
        return preset.finalists

    def figures(self, preset: Preset, request: PlanRequest) -> Mapping[str, object]:
        """Return the numbers of stages, and of completions that a layer evaluates at most."""
        settings: PcnasSettings = preset.settings
        assert isinstance(request.space, Space)
        layers = request.space.layers
        most = settings.pool * settings.draws * max(len(layer.candidates) for layer in layers)
        return {"layers that are decided": len(layers), "completions of a layer, at most": most}

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the warm-up, and for each layer the evaluation of its partial models and the training on the pool."""
        assert isinstance(request.space, Space)
        settings: PcnasSettings = preset.settings
        images, recipe, layers = len(request.images.train), preset.supernet, request.space.layers
        phases = [training_phase("warming the supernet up", images, recipe, epochs=settings.warmup)]
        pool, extended = 1, 0
        for number, layer in enumerate(layers, 1):
            extended = pool * len(layer.candidates)
            pool = min(settings.pool, extended)
            task = f"training on the pool of layer {number}"
            phases += [
                evaluation_phase("evaluating potentials", extended * settings.draws, rate="quick evaluation"),
                training_phase(task, images, recipe, epochs=settings.interval),
            ]
        return [*phases, evaluation_phase("evaluating the pool", extended)]

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Grow the pool through all layers; its members come first, and what it dropped last is a reserve.

        Raises:
            InfeasibleError: At a layer, no partial model has a feasible completion among its draws.
        """
        from nascli.search.pcnas.engine import PcnasEngine
        from nascli.search.pcnas.search import PcnasSearch

        settings: PcnasSettings = context.preset.settings
        space = problem.space
        search = PcnasSearch(problem.feasible, settings, context.seed, context.folder.state(STORY))
        engine = PcnasEngine(
            space,
            problem.images,
            context.preset.supernet,
            warmup=settings.warmup,
            interval=settings.interval,
            stages=len(space.layers),
            seed=context.seed,
            file=context.folder.file("training/supernet.safetensors"),
            progress=context.progress,
        )
        history = search.grow(engine, context.progress)
        last = history[-1]
        rows = list(dict.fromkeys(model.choices for model in last.candidates if np.isfinite(model.potential)))
        pool = {model.choices for model in last.pool}
        accuracies = engine.accuracies(np.array(rows, dtype=space.dtype), context.preset.calibration_images)
        evaluations = [
            Evaluation(row, Score(float(top1), float(row in pool)), 0.0)
            for row, top1 in zip(rows, accuracies, strict=True)
        ]
        context.write_evaluations(evaluations)
        ranked = sorted(
            evaluations, key=lambda e: (e.required_score.tie_break, e.required_score.value), reverse=True
        )
        return RankedCandidates(tuple(ranked), "a supernet of this run, trained on its pools")

    def choose(self, fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
        """Choose the finalist that is best after training from scratch, as in the paper."""
        return choose_by_training(fitting, train)

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return a pool of twice the size, whose members are evaluated in the end."""
        pool = 2 * int(preset["settings"]["pool"])
        words = "A larger pool ends in more networks."
        return (Remedy(words=words, arguments={"changes": f"pcnas.pool={pool}"}),)

    def stories(self, record: SearchRecord) -> list[Story]:
        """Return how the pool grew, and what good architectures have in common."""
        from nascli.search.pcnas.search import PoolExtension
        from nascli.search.pcnas.story import pools_story

        extensions = [PoolExtension.from_json(document) for document in record.story["pools"]]
        return [pools_story(record.space, extensions, record.winner), *super().stories(record)]


ALGORITHMS = (PcNas(),)
