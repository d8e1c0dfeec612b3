"""What Network Space Search is to the rest of nascli."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nascli.errors import ConstraintError, Remedy
from nascli.search.algorithm import Algorithm, SpaceKind, with_aliases
from nascli.search.nss.settings import PRESETS, NssStream
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.search.spos.descriptor import SPOS
from nascli.spaces.space import Space
from nascli.spaces.staged import StagedSpace


class NetworkSpaceSearch(Algorithm):
    """Ranges of depths and widths are learned, as a space that SPOS then searches."""

    name = "nss"
    title = "Network Space Search"
    summary = "Network Space Search: ranges of depths and widths are learned, then searched by SPOS"
    presets = PRESETS
    streams = NssStream
    accepts = frozenset({SpaceKind.STAGED})
    example_space = "nss-expanded-mini"
    learns_spaces = True
    aliases = with_aliases(evolution="searcher", nss_epochs="space_recipe.epochs")

    def prepare_space(self, request: SpaceRequest, context: SearchContext) -> tuple[Space, Mapping[str, Any]]:
        """Learn an Elite Space for the budget: MACs where they are bounded, else latency."""
        from nascli.search.nss.engine import search_space

        given = request.space
        assert isinstance(given, StagedSpace)
        # MACs before latency, where both are bounded: they need nothing measured.
        here = {c.name: c for c in request.constraints if c.device is None and c.high != math.inf}
        bound = here.get("macs") or here.get("latency")
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

            cost = measured_latency(given, context.measure, seed=context.seed, progress=context.progress)
        assert context.preset.space_recipe is not None
        elite = search_space(
            given,
            request.images,
            bound.high,
            context.preset.settings,
            context.preset.space_recipe,
            seed=context.seed,
            file=context.folder.file("training/space.safetensors"),
            progress=context.progress,
            cost=cost,
        )
        return elite.chain(), elite.document()

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Search the Elite Space as SPOS does."""
        from nascli.search.ranking import rank_with_supernet

        return rank_with_supernet(SPOS.searcher, context.preset.searcher, problem, context)


ALGORITHMS = (NetworkSpaceSearch(),)
