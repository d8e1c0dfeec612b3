"""The main job: from a budget to a trained network that was measured to keep it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nascli.costmodel import best, counted
from nascli.costmodel.budgets import CostValue
from nascli.errors import ConstraintError, NascliError, Remedy
from nascli.lut import Measurement
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.pipeline.run.build_problem import budget_text, build_problem, named_space, setup_of
from nascli.pipeline.run.finalists import CandidateNetworks, measured_on_first, select_finalists
from nascli.pipeline.run.old_settings import upgrade_settings
from nascli.pipeline.run.result import BudgetValue, SearchResult, versions
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.run.settled_runtime import settle_search
from nascli.pipeline.train.from_scratch import CandidateTrainer, CandidateTraining
from nascli.pipeline.train.teachers import load_teaching
from nascli.profiles.protocol import MeasurementProtocol
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.search.base import Choices
from nascli.search.problem import RankedCandidates, SearchContext, SearchProblem
from nascli.search.run_folder import RESULT, WINNER_COSTS, RunFolder
from nascli.search.verification import (
    Finalist,
    Latencies,
    latency_disagreement,
    stale_table_remedies,
    stale_table_warning,
)
from nascli.spaces.network import Network
from nascli.spaces.space import Space
from nascli.supernet.devices import TrainDevice
from nascli.supernet.training import distributed
from nascli.supernet.training.teaching import Teaching
from nascli.units import format_big_integer, format_estimated_count, format_seconds

WINNER = "winner"


def run_search(settings: SearchSettings, folder: Path, progress: Progress) -> SearchResult:
    """Search, verify, and train; a run of the same settings that was killed goes on where it stopped.

    Under torchrun several processes search together: they share batches and evaluations, and the first one measures and
    writes the files. All of them return the result.

    Args:
        settings: What to search, where, under which budgets; the runtime may be 'fastest'.
        folder: The run's folder.
        progress: Is shown how far the search is.

    Raises:
        NascliError: Whatever the user can mend.
    """
    device = TrainDevice.of(settings.execution.training)
    distributed.join_process_group(str(device.device))
    _refuse_cluster(settings)
    named = named_space(settings)
    settings = settle_search(settings, named, folder, progress)
    digest = named.digest if isinstance(named, Space) else named.spec
    with RunFolder(folder, {**settings.to_json(), "space_digest": digest}, upgrade_settings) as run:
        done = run.read(RESULT)
        if done is not None:
            progress.message(f"{folder} is complete; to search anew, choose another folder or seed")
            return SearchResult.from_json(done, folder)
        context = _context(settings, run, progress, device)
        problem = build_problem(settings, named, context)
        # A teacher that cannot be used is refused before the search, and not after it.
        teaching = None if settings.teacher is None else load_teaching(settings.teacher, problem.images)
        feasible = problem.feasible
        progress.message(
            f"{format_estimated_count(feasible.count(), feasible.exact)} of {format_big_integer(problem.space.size)} "
            f"architectures satisfy {budget_text(problem.constraints)}"
        )
        candidates = settings.descriptor.find(problem, context)
        if not candidates.ranked:
            raise NascliError(
                f"{settings.descriptor.title} found no candidate within {budget_text(problem.constraints)}."
            )
        # What the algorithm wrote down itself stays as it is.
        context.write_evaluations(candidates.ranked)
        document = _Conclusion(settings, problem, context, candidates, teaching).document()
        # Processes may differ in what is not decided together, such as the versions of packages.
        document = distributed.on_first(lambda: document)
        run.write(RESULT, document)
        return SearchResult.from_json(document, folder)


def _refuse_cluster(settings: SearchSettings) -> None:
    """Refuse a Ray cluster beside several processes, which share the evaluations already."""
    if settings.execution.ray is not None and distributed.world_size() > 1:
        raise ConstraintError(
            f"{distributed.world_size()} processes share the evaluations of this search, and a Ray cluster is to have "
            "them too.",
            "Leave the cluster out, or start a single process.",
            Remedy(arguments={"ray": None}),
        )


def _context(
    settings: SearchSettings, folder: RunFolder, progress: Progress, device: TrainDevice
) -> SearchContext:
    def measure(networks: Sequence[Network]) -> list[Measurement]:
        return measured_on_first(
            lambda: measure_networks(
                networks,
                settings.target,
                settings.execution,
                protocol=MeasurementProtocol(),
                seed=settings.seed,
                progress=progress,
            )
        )

    return SearchContext(
        settings.effort,
        settings.seed,
        settings.data,
        folder,
        progress,
        measure,
        None if settings.supernet is None else Path(settings.supernet),
        None if settings.after is None else Path(settings.after),
        settings.execution.ray,
        device,
        settings.data_options,
    )


class _Conclusion:
    """From candidates to the document of the result: verification, training, and what is written down."""

    def __init__(
        self,
        settings: SearchSettings,
        problem: SearchProblem,
        context: SearchContext,
        candidates: RankedCandidates,
        teaching: Teaching | None,
    ) -> None:
        self.settings, self.problem, self.context, self.candidates = settings, problem, context, candidates
        algorithm = settings.descriptor
        resized = algorithm.resize(problem, context, candidates.ranked[: context.preset.finalists])
        self.networks = CandidateNetworks(problem, settings, resized, context.progress)
        self.trainer = CandidateTrainer(
            problem.images,
            context.preset.retraining,
            settings.seed,
            context.folder,
            context.progress,
            context.device.compile,
            teaching,
            context.preset.final_on,
        )

    def document(self) -> dict[str, Any]:
        """Choose the winner, train it and its baselines, and say what came out."""
        finalists = select_finalists(
            self.candidates, self.networks, self.problem, self.context, self._subject
        )
        latencies = _latencies(finalists)
        warning = stale_table_warning(latencies) if latencies else None
        if warning is not None:
            self.context.progress.message(warning, *stale_table_remedies(self._subject))
        fitting = [finalist for finalist in finalists if finalist.within]
        winner = self.settings.descriptor.choose(fitting, self._validation_top1)
        if winner.latencies is not None:
            self.context.progress.message(
                f"winner: measured {format_seconds(winner.latencies.measured.seconds)} "
                f"(predicted {format_seconds(winner.latencies.predicted)})"
            )
        rows = {WINNER: winner.evaluation.architecture, **self._baselines()}
        figures: Mapping[str, Measurement] = {}
        if self.problem.latency is not None or self.settings.measure:
            figures = dict(zip(rows, self.networks.measured(list(rows.values())), strict=True))
        trained = {name: self._train(name, row) for name, row in rows.items()}
        if self.problem.latency is not None and self.networks.is_resized(rows[WINNER]):
            self.context.folder.write(WINNER_COSTS, self.networks.own_costs(rows[WINNER]))
        return {
            **self._search_document(),
            **self._winner_document(winner, trained[WINNER]),
            **self._latency_document(winner, finalists, figures, warning),
            "baselines": {
                name: self._baseline_document(row, trained[name], figures.get(name))
                for name, row in rows.items()
                if name != WINNER
            },
        }

    @property
    def _subject(self) -> dict[str, object]:
        """What measuring the table anew is about, by argument."""
        settings = self.settings
        return {
            "space": self.problem.space.spec,
            "target": settings.target,
            "execution": settings.execution,
        }

    def _validation_top1(self, finalist: Finalist) -> float:
        architecture = finalist.evaluation.architecture
        return self.trainer.validation_top1(self.networks.space_of(architecture), architecture, "finalist")

    def _train(self, name: str, architecture: Choices) -> CandidateTraining:
        space = self.networks.space_of(architecture)
        if name == WINNER:
            return self.trainer.train_and_export(space, architecture, name, self.settings.target.batch)
        return self.trainer.train(space, architecture, name)

    def _baselines(self) -> dict[str, Choices]:
        """A random feasible architecture, and the one with the most MACs where there is a choice.

        Architectures of a low-bit space differ in bit widths, of which MACs say nothing.
        """
        feasible = self.problem.feasible
        rows = {"random": feasible.sample(1, generator(self.settings.seed, RandomStream.BASELINES))[0]}
        if self.problem.latency is not None or (not feasible.space.low_bit and feasible.count() > 1):
            rows["largest"] = best(feasible, self.problem.costs.counted["macs"].unary)
        return {name: tuple(int(choice) for choice in row) for name, row in rows.items()}

    def _search_document(self) -> dict[str, Any]:
        """What was searched and how."""
        problem, settings = self.problem, self.settings
        return {
            "format": "nascli-result",
            "version": 1,
            "algorithm": settings.algorithm,
            "searched_space": problem.space.spec,
            "space_size": str(problem.space.size),
            "feasible_count": problem.feasible.count(),
            "feasible_count_exact": problem.feasible.exact,
            "data": settings.data,
            "constraints": list(settings.budgets),
            "evaluations": len(self.candidates.ranked),
            "supernet": self.candidates.identity,
            "seed": settings.seed,
            "finished_on": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "versions": versions(),
        }

    def _winner_document(self, winner: Finalist, trained: CandidateTraining) -> dict[str, Any]:
        """The winner, its accuracy, and what it has of each budget."""
        architecture = winner.evaluation.architecture
        counts = self.networks.network(architecture).counts
        document = {
            "space": self.networks.space_of(architecture).spec,
            "budget": [row.to_json() for row in self._budget_values(winner)],
            "codes": list(architecture),
            "macs": counts.macs,
            "params": counts.params,
            "supernet_top1": winner.evaluation.value,
            "retrained_top1": trained.top1,
            "retrained_top1_interval": [trained.low, trained.high],
        }
        if trained.export_max_difference is not None:
            document["export_max_difference"] = trained.export_max_difference
        if self.problem.latency is None:
            document["costs"] = self._counted(architecture)
        return document

    def _latency_document(
        self,
        winner: Finalist,
        finalists: Sequence[Finalist],
        figures: Mapping[str, Measurement],
        warning: str | None,
    ) -> dict[str, Any]:
        """What the model and the device say of the winner and of the finalists."""
        source = self.problem.latency
        if source is None or winner.latencies is None or self.problem.costs.latency is None:
            return self._measured_document(figures.get(WINNER))
        measured = winner.latencies.measured
        return {
            "predicted_latency_s": {
                "value": winner.latencies.predicted,
                "kind": self.problem.costs.latency.kind,
                "model": source.model,
                "setup": dict(source.setup),
                "table_digest": source.table_digest,
            },
            # By how much the finalists took longer than predicted, and what follows from it, if anything.
            "device_over_model": latency_disagreement(_latencies(finalists)),
            "warning": warning,
            "measured_latency_s": measured.seconds,
            "measured_interval_s": [measured.low, measured.high],
            # The winner once more, beside the baselines: how well a figure repeats.
            "measured_again_s": figures[WINNER].seconds,
            "finalists": [self._finalist_document(finalist) for finalist in finalists],
            "table_digest": source.table_digest,
            "evidence": dict(source.quality),
        }

    def _measured_document(self, figure: Measurement | None) -> dict[str, Any]:
        """What the device says of a winner that was searched without a latency model."""
        if figure is None:
            return {"measured_latency_s": None}
        return {
            "measured_latency_s": figure.seconds,
            "measured_interval_s": [figure.low, figure.high],
            "setup": setup_of(self.settings),
        }

    def _budget_values(self, winner: Finalist) -> list[BudgetValue]:
        """What the winner has of each bounded cost: measured here, counted in its own widths, or by a model."""
        architecture, constraints = winner.evaluation.architecture, self.problem.constraints
        row = self.problem.space.check(np.array([architecture]))
        values = []
        for constraint, value in zip(constraints, self.problem.costs.values(constraints, row), strict=True):
            device = constraint.device
            if constraint.is_local_latency:
                assert winner.latencies is not None
                device, value = (
                    self.settings.target.device,
                    CostValue(winner.latencies.measured.seconds, "measured"),
                )
            elif constraint.name != "latency":
                # In the winner's own widths, which may not be the searched space's.
                own = counted(self.networks.space_of(architecture), constraint.name)
                value = CostValue(float(own(row)[0]), "counted")
            values.append(BudgetValue(constraint, device, value))
        return values

    def _counted(self, architecture: Choices) -> dict[str, float]:
        """The counted costs that a search without latency is about, in the architecture's own widths."""
        row = self.problem.space.check(np.array([architecture]))
        names = sorted({*self.problem.costs.counted, "params"})
        space = self.networks.space_of(architecture)
        return {name: float(counted(space, name)(row)[0]) for name in names}

    def _facts(self, architecture: Choices) -> dict[str, Any]:
        counts = self.networks.network(architecture).counts
        return {
            "codes": list(architecture),
            "macs": counts.macs,
            "params": counts.params,
            "predicted_latency_s": self.networks.predicted(architecture),
        }

    def _finalist_document(self, finalist: Finalist) -> dict[str, Any]:
        assert finalist.latencies is not None
        measured = finalist.latencies.measured
        return {
            **self._facts(finalist.evaluation.architecture),
            "supernet_top1": finalist.evaluation.value,
            "measured_latency_s": measured.seconds,
            "measured_interval_s": [measured.low, measured.high],
            "within_budget": finalist.within,
        }

    def _baseline_document(
        self, architecture: Choices, trained: CandidateTraining, figure: Measurement | None
    ) -> dict[str, Any]:
        document = {
            "codes": list(architecture),
            "top1": trained.top1,
            "top1_interval": [trained.low, trained.high],
            "validation_top1": trained.validation_top1,
        }
        measured = {}
        if figure is not None:
            measured = {
                "measured_latency_s": figure.seconds,
                "measured_interval_s": [figure.low, figure.high],
            }
        if self.problem.latency is None:
            return {**measured, **document, "costs": self._counted(architecture)}
        return {**self._facts(architecture), **measured, **document}


def _latencies(finalists: Sequence[Finalist]) -> list[Latencies]:
    return [finalist.latencies for finalist in finalists if finalist.latencies is not None]
