"""The descriptor of AutoSpace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from nascli.errors import ConstraintError, Remedy
from nascli.progress import Phase
from nascli.search.algorithm import Algorithm, SpaceKind, with_aliases
from nascli.search.autospace.settings import PRESETS, AutoSpaceSettings, AutoSpaceStream
from nascli.search.phases import training_phase
from nascli.search.plan import PlanRequest, TrainingPhase
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.search.spos.descriptor import SPOS, evolution_figures, more_generations
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.space import Space


class AutoSpace(Algorithm):
    """Cells evolve while they train, into a space that SPOS then searches (Zhou et al. 2021)."""

    name = "autospace"
    title = "AutoSpace"
    summary = "AutoSpace: cells evolve while they train; the learned space is searched by SPOS"
    presets = PRESETS
    streams = AutoSpaceStream
    accepts = frozenset({SpaceKind.SINGLE_PATH})
    example_space = "autospace-mini"
    learns_spaces = True
    aliases = with_aliases(batch="supernet.batch space_recipe.batch", evolution="searcher")

    def with_epochs(self, preset: Preset, epochs: int) -> Preset:
        """Return the preset with another number of epochs for the supernet of the learned space."""
        return replace(preset, supernet=replace(preset.supernet, epochs=epochs))

    def phases(self, preset: Preset, request: PlanRequest) -> tuple[TrainingPhase, ...]:
        """Return two phases: the supernet in which cells evolve, and that of the learned space."""
        settings: AutoSpaceSettings = preset.settings
        return (
            TrainingPhase(
                "supernet in which cells evolve", "space_recipe", settings.warmup + settings.evolution
            ),
            TrainingPhase("supernet of the learned space", "supernet", preset.supernet.epochs),
        )

    def figures(self, preset: Preset, request: PlanRequest) -> Mapping[str, object]:
        """Return what the searcher of the learned space evaluates."""
        return evolution_figures(preset.searcher)

    def announced_learning(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the evolution of cells, whose training stops at each mutation."""
        assert preset.space_recipe is not None
        epochs = preset.settings.warmup + preset.settings.evolution
        return (
            training_phase(
                "evolving cells",
                len(request.images.train),
                preset.space_recipe,
                epochs=epochs,
                rate="training of cells",
                in_parts=True,
            ),
        )

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the phases of SPOS in the learned space."""
        from nascli.search.ranking import ranking_phases

        return ranking_phases(request, preset, SPOS.evaluations(preset.searcher))

    def prepare_space(self, request: SpaceRequest, context: SearchContext) -> tuple[Space, Mapping[str, Any]]:
        """Learn the cells of every layer.

        Raises:
            ConstraintError: The space has no cells.
        """
        from nascli.search.autospace.engine import learn_cells

        space = request.space
        assert isinstance(space, Space)
        if not takes_parameter(space.name, "cells"):
            raise ConstraintError(
                f"{space.name} has no cells to learn.",
                "Choose a space that has.",
                Remedy(arguments={"space": self.example_space}),
            )
        assert context.preset.space_recipe is not None
        learned = learn_cells(
            space,
            request.images,
            context.preset.settings,
            context.preset.space_recipe,
            seed=context.seed,
            file=context.folder.file("training/space.safetensors"),
            progress=context.progress,
        )
        parameters = {**dict(space.parameters), "cells": learned.text}
        return make_space(space.name, **parameters), learned.to_json()

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Search the learned space as SPOS does."""
        from nascli.search.ranking import rank_with_supernet

        return rank_with_supernet(SPOS.searcher, context.preset.searcher, problem, context)

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many generations of the searcher."""
        return more_generations(preset["searcher"])


ALGORITHMS = (AutoSpace(),)
