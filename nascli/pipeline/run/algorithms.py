"""From a feasible set to ranked candidates: one function per kind of algorithm, all resumable in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nascli.costmodel import BoundedCost, ChainCost, FeasibleSet
from nascli.costmodel.feasible import k_best
from nascli.errors import ConstraintError
from nascli.files import read_json, reading, write_json
from nascli.pipeline.run.settings import SPACE_ALGORITHMS, SearchSettings
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.search.base import Score, Searcher
from nascli.search.driver import drive
from nascli.search.evaluators.batched import LocalEvaluator, RayEvaluator
from nascli.search.journal import Entry, Journal
from nascli.search.nse.engine import NseEngine
from nascli.search.nse.rounds import EvaluatedPoint, Subset, narrow_choices, round_from_json
from nascli.search.nse.search import NseSearch
from nascli.search.pcnas.engine import PcnasEngine
from nascli.search.pcnas.search import PcnasSearch
from nascli.search.proxyless.engine import ProxylessEngine
from nascli.search.run_folder import EVALUATIONS, STORY, RunFolder, StateFile
from nascli.search.searchers.registry import make_searcher
from nascli.spaces.builtin.branches import parse_inherited
from nascli.spaces.space import Space
from nascli.supernet.data.images import Images
from nascli.supernet.evaluation.scorer import TreeScorer, pack_weights, prefix_batches, scorer_from_weights
from nascli.supernet.training.one_shot import trained_supernet
from nascli.supernet.training.recipe import Recipe

# So many times as many candidates as are measured at a time are kept for the verification.
RESERVE = 6
# For how many rounds a second space is searched.
SECOND_ROUNDS = 3


@dataclass(frozen=True)
class Task:
    """What every algorithm is given."""

    settings: SearchSettings
    images: Images
    feasible: FeasibleSet
    budgets: Sequence[BoundedCost]
    folder: RunFolder
    progress: Progress

    def recipe(self, epochs: int) -> Recipe:
        """How supernets are trained."""
        return self.settings.effort.supernet_recipe(epochs)

    @property
    def rng(self) -> np.random.Generator:
        """The searcher's own generator."""
        return generator(self.settings.seed, RandomStream.SEARCHER)


@dataclass(frozen=True)
class Found:
    """Candidates, best first, and which supernet ranked them."""

    ranked: list[Entry]
    identity: str


def find(task: Task) -> Found:
    """Run the algorithm that the settings name."""
    return _ALGORITHMS[task.settings.algorithm](task)


def _one_shot(task: Task) -> Found:
    """A supernet trained on uniform paths, searched by asking and telling."""
    settings = task.settings
    recipe = task.recipe(settings.effort.supernet_epochs)
    supernet, identity, _ = trained_supernet(
        task.feasible.space,
        task.images,
        recipe,
        seed=settings.seed,
        progress=task.progress,
        given=settings.supernet,
    )
    calibration = settings.effort.calibration_images
    evaluator: LocalEvaluator | RayEvaluator
    if settings.execution.ray is None:
        evaluator = LocalEvaluator(TreeScorer(supernet, task.images, calibration=calibration), prefix_batches)
    else:
        given = (task.feasible.space.spec, settings.data, pack_weights(supernet), calibration, 1)
        evaluator = RayEvaluator(scorer_from_weights, given, prefix_batches, address=settings.execution.ray)
    journal = Journal(task.folder.file(EVALUATIONS))
    try:
        outcome = drive(_searcher(task), evaluator, journal, task.progress)
    finally:
        journal.close()
        if isinstance(evaluator, RayEvaluator):
            evaluator.close()
    return Found(outcome.ranked, identity)


def _searcher(task: Task) -> Searcher:
    effort, algorithm = task.settings.effort, task.settings.algorithm
    return make_searcher(
        # What NSS and AutoSpace learn is searched by SPOS.
        "spos" if algorithm in SPACE_ALGORITHMS else algorithm,
        task.feasible,
        task.rng,
        evaluations=effort.guidance.evaluations,
        guidance=effort.guidance,
        evolution=effort.evolution,
    )


def _pcnas(task: Task) -> Found:
    settings = task.settings
    hyper = settings.effort.pcnas
    search = PcnasSearch(task.feasible, hyper, settings.seed, StateFile(task.folder.file(STORY)))
    engine = PcnasEngine(
        task.feasible.space,
        task.images,
        task.recipe(1),
        warmup=hyper.warmup,
        interval=hyper.interval,
        stages=len(task.feasible.space.layers),
        seed=settings.seed,
        file=task.folder.file("training/supernet.safetensors"),
        progress=task.progress,
    )
    history = search.grow(engine, task.progress)
    members = {member.codes: member for member in history[-1].candidates if np.isfinite(member.potential)}
    kept = [member.codes for member in history[-1].pool]
    rows = np.array(list(members), dtype=task.feasible.space.dtype)
    scores = engine.accuracies(rows, settings.effort.calibration_images)
    # The pool comes first: it is the algorithm's answer, and what it dropped a reserve for the verification.
    entries = [
        Entry(tuple(int(c) for c in row), Score(float(score), float(tuple(row.tolist()) in kept)), 0.0)
        for row, score in zip(rows, scores, strict=True)
    ]
    _journal(task, entries)
    ranked = sorted(entries, key=lambda e: (e.score.tie_break, e.score.value), reverse=True)
    return Found(ranked, "a supernet of this run, trained on its pools")


def _nse(task: Task) -> Found:
    settings = task.settings
    effort = settings.effort
    target = next((b for b in task.budgets if b.constraint.name == "latency"), task.budgets[0])
    if not np.isfinite(target.constraint.high):
        raise ConstraintError(f"NSE aims at an upper bound, and {target.constraint} has none.")
    hyper, former = effort.nse, []
    if settings.after is not None:
        former = _last_front(Path(settings.after), target.cost)
        # The authors stop in the second space after three rounds, before its many operations are traversed.
        hyper = replace(hyper, rounds=hyper.rounds or SECOND_ROUNDS)
    search = NseSearch(
        task.feasible.space,
        target,
        hyper,
        settings.seed,
        StateFile(task.folder.file(STORY)),
        others=[b for b in task.budgets if b is not target],
        inherited=_inherited(task.feasible.space),
        former=former,
    )
    engine = NseEngine(
        task.images,
        task.recipe(effort.nse_epochs),
        effort.fitness,
        target=search.target,
        seed=settings.seed,
        folder=task.folder.file("training"),
        progress=task.progress,
        calibration=effort.calibration_images,
    )
    rounds = search.evolve(engine, task.progress)
    points = {p.codes: p for r in rounds for p in r.evaluated}
    _journal(task, [Entry(p.codes, Score(p.accuracy, 0.0), 0.0) for p in points.values()])
    # The last front first, then the rest of the last round: a reserve for the verification.
    last = rounds[-1].evaluated
    fits = task.feasible.contains(np.array([p.codes for p in last], dtype=task.feasible.space.dtype))
    inside = [p for p, fit in zip(last, fits, strict=True) if fit]
    front = {p.codes for p in rounds[-1].front}
    ranked = sorted(inside, key=lambda p: (p.codes in front, p.accuracy), reverse=True)
    entries = [Entry(p.codes, Score(p.accuracy, float(p.codes in front)), 0.0) for p in ranked]
    return Found(entries, f"the supernet of round {len(rounds)} of this run")


def _proxyless(task: Task) -> Found:
    """ProxylessNAS-style: choices learned by gradient beside the weights; the most probable feasible networks."""
    settings, space = task.settings, task.feasible.space
    effort = settings.effort
    target = next((b for b in task.budgets if b.constraint.name == "latency"), task.budgets[0])
    if not np.isfinite(target.constraint.high):
        raise ConstraintError(f"a gradient aims at an upper bound, and {target.constraint} has none.")
    engine = ProxylessEngine(
        space,
        task.images,
        task.recipe(effort.supernet_epochs),
        effort.gates,
        target,
        seed=settings.seed,
        file=task.folder.file("training/supernet.safetensors"),
        progress=task.progress,
    )
    scores = engine.train()
    rows = k_best(task.feasible, scores, RESERVE * effort.finalists)
    accuracies = engine.accuracies(rows, effort.calibration_images)
    likelihood = [sum(float(s[c]) for s, c in zip(scores, row, strict=True)) for row in rows.tolist()]
    write_json(task.folder.file(STORY), {"log_probabilities": [s.tolist() for s in scores]})
    entries = [
        Entry(tuple(map(int, row)), Score(float(top1), chance), 0.0)
        for row, top1, chance in zip(rows.tolist(), accuracies, likelihood, strict=True)
    ]
    _journal(task, entries)
    # As ProxylessNAS does, the most probable one first; the rest is a reserve for the verification.
    return Found(entries, "a supernet of this run, trained with its choices")


def _inherited(space: Space) -> Subset | None:
    """What a second space takes over from the first: the operations in front of its own."""
    text = str(dict(space.parameters).get("inherited", ""))
    return tuple(tuple(range(len(kept))) for kept in parse_inherited(text)) or None


def _last_front(run: Path, cost: ChainCost) -> list[EvaluatedPoint]:
    """The last front of a run in the first space, as architectures of the second one that inherits from it."""
    story = run / STORY
    with reading(story):
        last = round_from_json((read_json(story) or {})["rounds"][-1])
    codes = narrow_choices(np.array([point.codes for point in last.front], dtype=np.int64), last.aggregated)
    return [
        EvaluatedPoint(tuple(map(int, row)), float(seconds), point.accuracy, True)
        for row, seconds, point in zip(codes, cost(codes), last.front, strict=True)
    ]


def _journal(task: Task, entries: Sequence[Entry]) -> None:
    journal = Journal(task.folder.file(EVALUATIONS))
    try:
        for entry in entries:
            if entry.codes not in journal.entries:
                journal.add(entry.codes, entry.score, entry.seconds)
    finally:
        journal.close()


_ALGORITHMS: dict[str, Callable[[Task], Found]] = {
    "spos": _one_shot,
    "random": _one_shot,
    "evolution": _one_shot,
    "guided": _one_shot,
    "pcnas": _pcnas,
    "nse": _nse,
    "proxyless": _proxyless,
    "nss": _one_shot,
    "autospace": _one_shot,
}
