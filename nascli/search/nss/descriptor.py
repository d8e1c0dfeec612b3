"""The descriptor of Network Space Search."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nascli.errors import ConstraintError, Remedy
from nascli.progress import Phase
from nascli.search.algorithm import Algorithm, SpaceKind, with_aliases
from nascli.search.nss.settings import PRESETS, NssSettings, NssStream
from nascli.search.phases import training_phase
from nascli.search.plan import PlanRequest, TrainingPhase
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.search.spos.descriptor import SPOS, evolution_figures, more_generations
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace


class NetworkSpaceSearch(Algorithm):
    """Ranges of depths and widths are learned as a space, which SPOS then searches (Hong et al. 2021)."""

    name = "nss"
    title = "Network Space Search"
    summary = "Network Space Search: ranges of depths and widths are learned, then searched by SPOS"
    presets = PRESETS
    streams = NssStream
    accepts = frozenset({SpaceKind.STAGED})
    example_space = "nss-expanded-mini"
    learns_spaces = True
    aliases = with_aliases(
        batch="supernet.batch space_recipe.batch", evolution="searcher", nss_epochs="space_recipe.epochs"
    )

    def phases(self, preset: Preset, request: PlanRequest) -> tuple[TrainingPhase, ...]:
        """Return two phases: the supernet on which a space is learned, and that of the Elite Space."""
        assert preset.space_recipe is not None
        return (
            TrainingPhase(
                "supernet on which the space is learned", "space_recipe", preset.space_recipe.epochs
            ),
            TrainingPhase("supernet of the Elite Space", "supernet", preset.supernet.epochs),
        )

    def figures(self, preset: Preset, request: PlanRequest) -> Mapping[str, object]:
        """Return how many bins and spaces there are to learn from, and what the searcher evaluates."""
        settings: NssSettings = preset.settings
        figures: dict[str, object] = {}
        if isinstance(request.space, StagedSpace):
            stages = len(request.space.strides)
            depths = -(-request.space.depths // settings.depth_bin)
            widths = -(-request.space.widths // settings.width_bin)
            figures = {
                "bins of depths a stage": depths,
                "bins of widths a stage": widths,
                "network spaces": (depths * widths) ** stages,
            }
        return figures | evolution_figures(preset.searcher)

    def announced_learning(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the training of the distribution over spaces."""
        assert preset.space_recipe is not None
        task = "searching for a space"
        return (
            training_phase(task, len(request.images.train), preset.space_recipe, rate="training of a space"),
        )

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return the phases of SPOS in the Elite Space."""
        from nascli.search.ranking import ranking_phases

        return ranking_phases(request, preset, SPOS.evaluations(preset.searcher))

    def prepare_space(self, request: SpaceRequest, context: SearchContext) -> tuple[Space, Mapping[str, Any]]:
        """Learn an Elite Space for the budget.

        The budget on MACs is aimed at if there is one, since nothing must be measured for it; else that on latency.

        Raises:
            ConstraintError: Neither MACs nor the latency of the target have an upper bound.
        """
        from nascli.search.nss.engine import learn_elite_space

        staged = request.space
        assert isinstance(staged, StagedSpace)
        bounded = {
            each.name: each for each in request.constraints if each.device is None and each.high != math.inf
        }
        bound = bounded.get("macs") or bounded.get("latency")
        if bound is None:
            raise ConstraintError(
                "NSS aims at a number of MACs or a latency here.",
                "Bound one of them.",
                Remedy(arguments={"constraint": "macs<=30M"}),
                Remedy(arguments={"constraint": "latency=8ms"}),
            )
        cost = None
        if bound.name == "latency":
            from nascli.search.nss.latency import measured_latency

            cost = measured_latency(staged, context.measure, seed=context.seed, progress=context.progress)
        assert context.preset.space_recipe is not None
        elite = learn_elite_space(
            staged,
            request.images,
            bound.high,
            context.preset.settings,
            context.preset.space_recipe,
            seed=context.seed,
            file=context.folder.file("training/space.safetensors"),
            progress=context.progress,
            cost=cost,
        )
        return elite.chain(), elite.to_json()

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Search the Elite Space as SPOS does."""
        from nascli.search.ranking import rank_with_supernet

        return rank_with_supernet(SPOS.searcher, context.preset.searcher, problem, context)

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many generations of the searcher."""
        return more_generations(preset["searcher"])


ALGORITHMS = (NetworkSpaceSearch(),)
