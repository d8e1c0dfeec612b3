"""What NSE is to the rest of nascli."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nascli.errors import ConstraintError
from nascli.search.algorithm import Algorithm, SearchRecord, SpaceKind, with_aliases
from nascli.search.base import Choices, Evaluation, Score
from nascli.search.nse.settings import PRESETS, NseSettings
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem
from nascli.search.run_folder import STORY, StateFile
from nascli.search.training_choice import choose_by_training
from nascli.spaces.space import Space
from nascli.supernet.recipes.nse import nse_supernet

if TYPE_CHECKING:
    from nascli.report.story import Story
    from nascli.search.verification import Finalist


class Nse(Algorithm):
    """Subsets of a multi-branch space evolve round by round."""

    name = "nse"
    title = "NSE"
    summary = "Neural Search Space Evolution: subsets of a multi-branch space, round by round"
    presets = PRESETS
    accepts = frozenset({SpaceKind.MULTI_BRANCH})
    example_space = "nse-27-mini"
    trains_as_it_searches = True
    continues_runs = True
    aliases = with_aliases(fitness="settings.fitness", nse_epochs="supernet.epochs")

    def with_epochs(self, preset: Preset, epochs: int) -> Preset:
        """The preset with another number of epochs a round; the paper's learning rate rises over two of them."""
        supernet = preset.supernet
        if supernet == nse_supernet(supernet.epochs, supernet.batch):
            return replace(preset, supernet=nse_supernet(epochs, supernet.batch))
        return super().with_epochs(preset, epochs)

    def continue_run(self, space: Space, run: Path) -> Space:
        """The second space with the operations that a run in the first one handed on."""
        from nascli.search.nse.second_space import second_space

        return second_space(space, run)

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Run all rounds; the last front comes first, and the rest of the last round is a reserve."""
        from nascli.search.nse.engine import NseEngine
        from nascli.search.nse.search import NseSearch
        from nascli.search.nse.second_space import SECOND_ROUNDS, former_front, inherited_operations

        settings: NseSettings = context.preset.settings
        target = problem.target
        if not math.isfinite(target.constraint.high):
            raise ConstraintError(f"NSE aims at an upper bound, and {target.constraint} has none.")
        former = []
        if context.after is not None:
            former = former_front(context.after, target.cost)
            settings = replace(settings, rounds=settings.rounds or SECOND_ROUNDS)
        search = NseSearch(
            problem.space,
            target,
            settings,
            context.seed,
            StateFile(context.folder.file(STORY)),
            others=[bound for bound in problem.bounds if bound.constraint != target.constraint],
            inherited=inherited_operations(problem.space),
            former=former,
        )
        engine = NseEngine(
            problem.images,
            context.preset.supernet,
            settings.fitness,
            target=search.target,
            seed=context.seed,
            folder=context.folder.file("training"),
            progress=context.progress,
            calibration=context.preset.calibration_images,
        )
        rounds = search.evolve(engine, context.progress)
        points = {point.codes: point for each in rounds for point in each.evaluated}
        context.write_evaluations([Evaluation(p.codes, Score(p.accuracy, 0.0), 0.0) for p in points.values()])
        last = rounds[-1].evaluated
        fits = problem.feasible.contains(np.array([p.codes for p in last], dtype=problem.space.dtype))
        inside = [point for point, fit in zip(last, fits, strict=True) if fit]
        front = {point.codes for point in rounds[-1].front}
        ranked = sorted(inside, key=lambda point: (point.codes in front, point.accuracy), reverse=True)
        return RankedCandidates(
            tuple(Evaluation(p.codes, Score(p.accuracy, float(p.codes in front)), 0.0) for p in ranked),
            f"the supernet of round {len(rounds)} of this run",
        )

    def resize(
        self, problem: SearchProblem, context: SearchContext, candidates: Sequence[Evaluation]
    ) -> Mapping[Choices, Space]:
        """Widen or narrow the candidates to their budget, where all of it can be counted (section 4.1)."""
        from nascli.search.nse.rescaling import rescale_to_budget

        if not context.preset.settings.rescale:
            return {}
        bounds = [c for c in problem.constraints if c.name != "latency" and c.high != math.inf]
        if len(bounds) < len(problem.constraints):
            context.progress.message(
                "the last architectures keep their widths: not every constraint is a counted upper bound"
            )
            return {}
        spaces = {
            each.architecture: rescale_to_budget(problem.space, each.architecture, bounds)
            for each in candidates
        }
        resized = {row: space for row, space in spaces.items() if space.spec != problem.space.spec}
        if resized:
            context.progress.message(f"{len(resized)} architectures rescaled to the budget")
        return resized

    def choose(self, fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
        """The finalist that is best after training from scratch, as in the paper."""
        return choose_by_training(fitting, train)

    def stories(self, record: SearchRecord) -> list[Story]:
        """Where operations live, the fronts, the fitness indicators, and each round."""
        from nascli.search.nse.story import nse_stories

        return nse_stories(record)


ALGORITHMS = (Nse(),)
