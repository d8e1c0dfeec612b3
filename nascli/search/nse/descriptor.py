"""The descriptor of NSE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.costmodel import Constraint
from nascli.errors import ConstraintError, Remedy
from nascli.progress import Phase
from nascli.search.algorithm import Algorithm, SearchRecord, SpaceKind, with_aliases
from nascli.search.base import Choices, Evaluation, Score
from nascli.search.nse.settings import PRESETS, RESOURCE_EXPONENT, NseSettings, NseStream
from nascli.search.phases import evaluation_phase, training_phase
from nascli.search.plan import PlanRequest, TrainingPhase, aimed_constraint
from nascli.search.preset import Preset
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem, SpaceRequest
from nascli.search.run_folder import STORY
from nascli.search.winner_by_training import choose_by_training
from nascli.spaces.space import Space
from nascli.supernet.recipes.nse import follow_epochs, nse, nse_latency

if TYPE_CHECKING:
    from nascli.report.story import Story
    from nascli.search.nse.rounds import EvaluatedPoint
    from nascli.search.nse.search import NseSearch
    from nascli.search.verification import Finalist


class Nse(Algorithm):
    """Subsets of a multi-branch space evolve round by round (Ci et al. 2021)."""

    name = "nse"
    title = "NSE"
    summary = "Neural Search Space Evolution: subsets of a multi-branch space, round by round"
    presets = PRESETS
    streams = NseStream
    accepts = frozenset({SpaceKind.MULTI_BRANCH})
    example_space = "nse-27-mini"
    trains_as_it_searches = True
    continues_runs = True
    aliases = with_aliases(fitness="settings.fitness", nse_epochs="supernet.epochs")

    def with_epochs(self, preset: Preset, epochs: int) -> Preset:
        """Return the preset with another number of epochs per round.

        In the paper's recipe the learning rate rises over two epochs, however many there are.
        """
        return _follow_epochs(preset, super().with_epochs(preset, epochs))

    def with_retraining_epochs(self, preset: Preset, epochs: int) -> Preset:
        """Return the preset with another number of epochs for training from scratch, and the same warm-up."""
        return _follow_epochs(preset, super().with_retraining_epochs(preset, epochs))

    def change(self, preset: Preset, texts: Sequence[str]) -> Preset:
        """Change hyper-parameters by name; the paper's learning rate rises over two epochs, however many there are."""
        return _follow_epochs(preset, super().change(preset, texts))

    def for_constraints(self, preset: Preset, constraints: Sequence[Constraint]) -> Preset:
        """Return the preset with the weight decay that the paper has under latency (appendix B)."""
        retraining = preset.retraining
        if not any(each.name == "latency" for each in constraints) or retraining != nse(retraining.epochs):
            return preset
        return replace(preset, retraining=nse_latency(retraining.epochs))

    def trained_finalists(self, preset: Preset) -> int:
        """Return the number of finalists: all of them train."""
        return preset.finalists

    def phases(self, preset: Preset, request: PlanRequest) -> tuple[TrainingPhase, ...]:
        """Return one phase: the supernets of all rounds."""
        rounds = _rounds(preset.settings, request)
        return (TrainingPhase("supernet of each round", "supernet", preset.supernet.epochs, rounds),)

    def figures(self, preset: Preset, request: PlanRequest) -> Mapping[str, object]:
        """Return K, the number of rounds, and, where there is an upper bound, the window and the resource term."""
        settings: NseSettings = preset.settings
        bound = aimed_constraint(request.constraints)
        name = "macs" if bound is None else bound.name
        figures: dict[str, object] = {
            "candidates a layer (K)": settings.candidates_under(name),
            "rounds, if each keeps one operation of a layer": _rounds(settings, request),
        }
        if bound is not None and bound.high != math.inf:
            low, high = settings.window_of(bound.low, bound.high)
            tau = settings.aim_of(low, high)
            weight = settings.fitness_weight(name)
            # The units in which appendix B has alpha.
            unit, scale = ("milliseconds", 1e-3) if name == "latency" else ("millions", 1e6)
            figures |= {
                f"window of {name}, lower end": low,
                f"window of {name}, upper end": high,
                f"target of {name} (tau)": tau,
                "weight of the relative excess": weight,
                f"alpha, for {name} in {unit}": weight / (tau / scale) ** 2,
                "exponent of the excess (beta)": RESOURCE_EXPONENT,
            }
        return figures

    def continue_run(self, space: Space, run: Path) -> Space:
        """Return the second space, extended by the operations that a run in the first one hands on."""
        from nascli.search.nse.second_space import second_space

        return second_space(space, run)

    def announced_phases(self, request: SpaceRequest, preset: Preset) -> Sequence[Phase]:
        """Return training and evaluation of each round: of as many as were asked for, or as operations last for."""
        assert isinstance(request.space, Space)
        settings: NseSettings = preset.settings
        continues = bool(dict(request.space.parameters).get("inherited"))
        rounds = _rounds(settings, PlanRequest(request.space, request.constraints, continues))
        phases: list[Phase] = []
        for number in range(1, rounds + 1):
            train, evaluate = f"training the supernet of round {number}", "evaluating architectures of round"
            phases += [
                training_phase(train, len(request.images.train), preset.supernet, rate="training of a round"),
                evaluation_phase(f"{evaluate} {number}", settings.samples + settings.beyond),
            ]
        return phases

    def find(self, problem: SearchProblem, context: SearchContext) -> RankedCandidates:
        """Run all rounds; the last front comes first, and the rest of the last round is a reserve.

        Raises:
            ConstraintError: The target of the problem has no upper bound.
            InfeasibleError: No architecture of a round lies in the window.
        """
        from nascli.search.nse.engine import NseEngine

        search = _make_search(problem, context)
        engine = NseEngine(
            problem.images,
            context.preset.supernet,
            context.preset.settings.fitness,
            target=search.target,
            seed=context.seed,
            folder=context.folder.file("training"),
            progress=context.progress,
            calibration=context.preset.calibration_images,
        )
        rounds = search.evolve(engine, context.progress)
        # An architecture that is evaluated in several rounds counts as in the last one.
        points = {point.architecture: point for each in rounds for point in each.evaluated}
        context.write_evaluations([_evaluation(point, 0.0) for point in points.values()])
        last = rounds[-1]
        population = np.array([point.architecture for point in last.evaluated], dtype=problem.space.dtype)
        front = {point.architecture for point in last.front}
        evaluations = [
            _evaluation(point, float(point.architecture in front))
            for point, fits in zip(last.evaluated, problem.feasible.contains(population), strict=True)
            if fits
        ]
        ranked = sorted(
            evaluations, key=lambda e: (e.required_score.tie_break, e.required_score.value), reverse=True
        )
        return RankedCandidates(tuple(ranked), f"the supernet of round {len(rounds)} of this run")

    def resize(
        self, problem: SearchProblem, context: SearchContext, candidates: Sequence[Evaluation]
    ) -> Mapping[Choices, Space]:
        """Widen or narrow the candidates to their budget, if all of it is counted (section 4.1)."""
        from nascli.search.nse.rescaling import rescale_to_budget

        if not context.preset.settings.rescale:
            return {}
        counted = [c for c in problem.constraints if c.name != "latency" and c.high != math.inf]
        if len(counted) < len(problem.constraints):
            context.progress.message(
                "the last architectures keep their widths: not every constraint is a counted upper bound"
            )
            return {}
        spaces = {
            each.architecture: rescale_to_budget(problem.space, each.architecture, counted)
            for each in candidates
        }
        resized = {
            architecture: space for architecture, space in spaces.items() if space.spec != problem.space.spec
        }
        if resized:
            context.progress.message(f"{len(resized)} architectures rescaled to the budget")
        return resized

    def choose(self, fitting: Sequence[Finalist], train: Callable[[Finalist], float]) -> Finalist:
        """Choose the finalist that is best after training from scratch, as in the paper."""
        return choose_by_training(fitting, train)

    def wider_search(self, preset: Mapping[str, Any]) -> tuple[Remedy, ...]:
        """Return twice as many architectures that a round draws and evaluates."""
        samples = 2 * int(preset["settings"]["samples"])
        words = "Rounds that draw more architectures look at more of them."
        return (Remedy(words=words, arguments={"changes": f"nse.samples={samples}"}),)

    def stories(self, record: SearchRecord) -> list[Story]:
        """Return where operations live, the fronts, the fitness indicators, and each round."""
        from nascli.search.nse.story import nse_stories

        return nse_stories(record)


def _follow_epochs(before: Preset, after: Preset) -> Preset:
    """Return a changed preset whose learning rates rise over as many epochs as they did before."""
    return replace(
        after,
        supernet=follow_epochs(before.supernet, after.supernet),
        retraining=follow_epochs(before.retraining, after.retraining),
    )


def _rounds(settings: NseSettings, request: PlanRequest) -> int:
    """Return the number of rounds, unless the settings say it: with one operation of a layer kept from each round."""
    from nascli.search.nse.second_space import SECOND_ROUNDS

    if settings.rounds is not None or request.continues:
        return settings.rounds or SECOND_ROUNDS
    assert isinstance(request.space, Space)
    bound = aimed_constraint(request.constraints)
    candidates = settings.candidates_under("macs" if bound is None else bound.name)
    operations = min(len(layer.candidates) for layer in request.space.layers)
    return max(1, (operations - 1) // (candidates - 1))


def _make_search(problem: SearchProblem, context: SearchContext) -> NseSearch:
    """Return the search of a problem; one that continues a run begins with what that run hands on."""
    from nascli.search.nse.search import NseSearch
    from nascli.search.nse.second_space import SECOND_ROUNDS, former_front, inherited_operations

    settings: NseSettings = context.preset.settings
    target = problem.target
    if not math.isfinite(target.constraint.high):
        raise ConstraintError(f"NSE aims at an upper bound, and {target.constraint} has none.")
    front: list[EvaluatedPoint] = []
    if context.after is not None:
        front = former_front(context.after, target.cost)
        settings = replace(settings, rounds=settings.rounds or SECOND_ROUNDS)
    return NseSearch(
        problem.space,
        target,
        settings,
        context.seed,
        context.folder.state(STORY),
        inherited=inherited_operations(problem.space),
        former_front=front,
        other_bounds=[bound for bound in problem.bounds if bound.constraint != target.constraint],
    )


def _evaluation(point: EvaluatedPoint, tie_break: float) -> Evaluation:
    return Evaluation(point.architecture, Score(point.accuracy, tie_break), 0.0)


ALGORITHMS = (Nse(),)
