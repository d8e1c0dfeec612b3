"""The main job: from a budget to a trained network that was measured to keep it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli.costmodel import Constraint, FeasibleSet, best, counted
from nascli.costmodel.budgets import CostSet
from nascli.files import read_json, write_json
from nascli.pipeline.run.finalists import CandidateNetworks, verified
from nascli.pipeline.run.problem import checked_images, frozen_costs, learned_space, named_space
from nascli.pipeline.run.result import base_document, budget_rows, format_estimated_count
from nascli.pipeline.run.settings import SearchSettings
from nascli.pipeline.train.from_scratch import WINNER, train_candidate
from nascli.progress import Progress
from nascli.random_streams import RandomStream, generator
from nascli.search.journal import Entry
from nascli.search.run_folder import FINALISTS, RESULT, WINNER_COSTS, RunFolder
from nascli.search.verification import Finalist, latency_disagreement, stale_table_warning
from nascli.spaces.space import Space
from nascli.units import format_big_integer, format_seconds

if TYPE_CHECKING:
    from nascli.supernet.data.images import Images

# Algorithms that choose among their last candidates by training each from scratch.
TRAINED_CHOICE = ("pcnas", "nse")


def run_search(settings: SearchSettings, out: Path, progress: Progress) -> dict[str, Any]:
    """Search, verify, train and report; goes on where a killed run of the same settings stopped.

    Returns:
        the document that `out`/result.json holds.

    Raises:
        NascliError: whatever the user can mend.
    """
    constraints = settings.parsed_constraints()
    given = named_space(settings)
    digest = given.digest if isinstance(given, Space) else given.spec
    with RunFolder(out, {**settings.to_json(), "space_digest": digest}) as folder:
        done = read_json(folder.file(RESULT))
        if done is not None:
            progress.message(f"{out} is complete; to search anew, choose another --out or --seed")
            return done
        space = learned_space(settings, given, constraints, folder, progress)
        images = checked_images(settings, space, constraints)
        if space.low_bit:
            from nascli.pipeline.run.counted_search import search_counted

            return search_counted(settings, space, images, constraints, folder, progress)
        costs = frozen_costs(settings, space, folder, progress)
        feasible = costs.feasible(space, constraints)
        progress.message(
            f"{format_estimated_count(feasible.count(), feasible.exact)} of {format_big_integer(space.size)} "
            f"architectures satisfy {' and '.join(str(c) for c in constraints)}"
        )
        return _Run(settings, constraints, images, costs, feasible, folder, progress).result()


class _Run:
    """One search under way."""

    def __init__(
        self,
        settings: SearchSettings,
        constraints: Sequence[Constraint],
        images: Images,
        costs: CostSet,
        feasible: FeasibleSet,
        folder: RunFolder,
        progress: Progress,
    ) -> None:
        self.settings, self.constraints = settings, constraints
        self.images, self.costs, self.feasible = images, costs, feasible
        self.folder, self.progress = folder, progress
        self.candidates = CandidateNetworks(feasible.space, costs, settings, progress)

    def result(self) -> dict[str, Any]:
        """From candidates to the document."""
        from nascli.pipeline.run.algorithms import Task, find

        effort = self.settings.effort
        found = find(
            Task(
                self.settings,
                self.images,
                self.feasible,
                self.costs.budgets(self.constraints),
                self.folder,
                self.progress,
            )
        )
        if self.settings.algorithm == "nse" and effort.nse.rescale:
            self.candidates.resize(found.ranked[: effort.finalists], self.constraints)
        file = self.folder.file(FINALISTS)
        finalists = verified(
            self.candidates, found.ranked, self._window(), effort.finalists, file, self._profile
        )
        warning = stale_table_warning(finalists, self._profile)
        if warning is not None:
            self.progress.message(warning)
        winner = self._winner([f for f in finalists if f.within])
        self.progress.message(
            f"winner: measured {format_seconds(winner.measured.seconds)} "
            f"(predicted {format_seconds(winner.predicted)})"
        )
        base = base_document(self.settings, self.feasible.space, self.feasible, found.ranked, found.identity)
        document = {**base, **self._outcome(winner, finalists, found.ranked)}
        write_json(self.folder.file(RESULT), document)
        return document

    @property
    def _profile(self) -> str:
        options = self.settings.target.command(self.settings.execution)
        return f"nascli profile --space {self.feasible.space.spec} {options}"

    def _window(self) -> tuple[float, float]:
        here = [c for c in self.constraints if c.name == "latency" and c.device is None]
        return (here[0].low, here[0].high) if here else (-float("inf"), float("inf"))

    def _winner(self, fitting: Sequence[Finalist]) -> Finalist:
        """The best by its score; of PC-NAS and NSE by training, as in their papers; of ProxylessNAS the likeliest."""
        if self.settings.algorithm == "proxyless":
            # They are in the order of their probability.
            return fitting[0]
        if self.settings.algorithm not in TRAINED_CHOICE:
            return max(fitting, key=lambda f: f.entry.score)
        tops = [self._trained("finalist", f.entry.codes)["validation_top1"] for f in fitting]
        return fitting[int(np.argmax(tops))]

    def _contenders(self, winner: Finalist) -> dict[str, tuple[int, ...]]:
        rng = generator(self.settings.seed, RandomStream.BASELINES)
        random = self.feasible.sample(1, rng)[0]
        largest = best(self.feasible, self.costs.costs["macs"].unary)
        rows = {WINNER: winner.entry.codes, "random": random.tolist(), "largest": largest.tolist()}
        return {name: tuple(int(code) for code in row) for name, row in rows.items()}

    def _outcome(
        self, winner: Finalist, finalists: Sequence[Finalist], ranked: Sequence[Entry]
    ) -> dict[str, Any]:
        contenders = self._contenders(winner)
        figures = dict(zip(contenders, self.candidates.measured(list(contenders.values())), strict=True))
        rows = {
            name: {
                **self._facts(codes),
                "measured_latency_s": figures[name].seconds,
                "measured_interval_s": [figures[name].low, figures[name].high],
                **self._trained(name, codes),
            }
            for name, codes in contenders.items()
        }
        top = rows.pop(WINNER)
        codes = winner.entry.codes
        if self.candidates.is_resized(codes):
            write_json(self.folder.file(WINNER_COSTS), self.candidates.own_costs(codes))
        latency = self.costs.latency
        return {
            "space": self.candidates.space_of(codes).spec,
            "budget": budget_rows(self.constraints, self.settings.target.device, self._values(winner)),
            "codes": list(codes),
            "predicted_latency_s": {
                "value": winner.predicted,
                "kind": latency.kind,
                "model": self.costs.model,
                "setup": self.costs.setup,
                "table_digest": self.costs.table_digest,
            },
            # By how much the finalists took longer than predicted, and what follows from it, if anything.
            "device_over_model": latency_disagreement(finalists),
            "warning": stale_table_warning(finalists, self._profile),
            "measured_latency_s": winner.measured.seconds,
            "measured_interval_s": [winner.measured.low, winner.measured.high],
            # The winner once more, beside the baselines: how well a figure repeats.
            "measured_again_s": figures[WINNER].seconds,
            "macs": top["macs"],
            "params": top["params"],
            "supernet_top1": winner.entry.score.value,
            "retrained_top1": top["top1"],
            "retrained_top1_interval": top["top1_interval"],
            "export_max_difference": top["export_max_difference"],
            "baselines": rows,
            "finalists": [self._finalist(finalist) for finalist in finalists],
            "table_digest": self.costs.table_digest,
            "evidence": self.costs.evidence,
        }

    def _values(self, winner: Finalist) -> list[dict[str, Any]]:
        """What the winner has of each bounded cost: measured here, counted in its own widths, or by a model."""
        row = self.feasible.space.check(np.array([winner.entry.codes]))
        values = self.costs.values(self.constraints, row)
        for place, constraint in enumerate(self.constraints):
            if constraint.name == "latency" and constraint.device is None:
                values[place] = {"value": winner.measured.seconds, "kind": "measured"}
            elif constraint.name != "latency":
                # In the winner's own widths, which may not be the searched space's.
                own = counted(self.candidates.space_of(winner.entry.codes), constraint.name)
                values[place] = {"value": float(own(row)[0]), "kind": "counted"}
        return values

    def _facts(self, codes: Sequence[int]) -> dict[str, Any]:
        counts = self.candidates.space_of(codes).network(codes).counts
        return {
            "codes": list(codes),
            "macs": counts.macs,
            "params": counts.params,
            "predicted_latency_s": self.candidates.predicted(codes),
        }

    def _finalist(self, finalist: Finalist) -> dict[str, Any]:
        return {
            **self._facts(finalist.entry.codes),
            "supernet_top1": finalist.entry.score.value,
            "measured_latency_s": finalist.measured.seconds,
            "measured_interval_s": [finalist.measured.low, finalist.measured.high],
            "within_budget": finalist.within,
        }

    def _trained(self, name: str, codes: Sequence[int]) -> dict[str, Any]:
        space = self.candidates.space_of(codes)
        return train_candidate(space, codes, name, self.images, self.settings, self.folder, self.progress)
