"""The main job: from a budget to a trained network that was measured to keep it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nascli import __version__
from nascli.costmodel import Budget, ChainCost, Constraint, FeasibleSet, best, counted, table_latency
from nascli.costmodel.calibration import Calibration
from nascli.costmodel.chain import require_single_path
from nascli.costmodel.roofline import roofline_latency
from nascli.errors import ConstraintError
from nascli.lut import LatencyTable
from nascli.lut.context import in_context
from nascli.pipeline.calibrating import known_calibration
from nascli.pipeline.measuring import (
    Where,
    measure_networks,
    other_table,
    plan,
    profile_models,
    space_models,
)
from nascli.pipeline.predicting import CALIBRATED, MODEL, absent_device
from nascli.pipeline.rescaling import WINNER_COSTS, narrowed_to, rescaled
from nascli.pipeline.run_folder import RunFolder, read_json, reading, write_json
from nascli.pipeline.settings import SPACE_ALGORITHMS, SearchSettings
from nascli.profiles.protocol import Protocol
from nascli.progress import Progress
from nascli.search.base import Score
from nascli.search.journal import Entry
from nascli.search.verify import Finalist, Measured, verify
from nascli.spaces.architecture import Architecture
from nascli.spaces.catalog import make_any, make_space, takes_parameter
from nascli.spaces.primitives import Conv
from nascli.spaces.space import Codes, Layer, Space
from nascli.spaces.staged import StagedSpace
from nascli.units import format_big_integer, format_seconds

if TYPE_CHECKING:
    from nascli.supernet.data import Images

RESULT = "result.json"
# Algorithms that choose among their last candidates by training each from scratch.
TRAINED_CHOICE = ("pcnas", "nse")
# Finalists decide what is called a result, so they are measured more closely than operators.
FINAL_PROTOCOL = Protocol(target=0.005, least_rounds=12, most_rounds=30)


@dataclass(frozen=True)
class Model:
    """The costs of a space that a run works with, and what its latency is; frozen at its start."""

    latency: ChainCost
    elsewhere: dict[str, ChainCost]
    costs: dict[str, ChainCost]
    model: str
    setup: dict[str, Any]
    table_digest: str
    half_width: float = 0.0

    def budgets(self, constraints: Sequence[Constraint]) -> list[Budget]:
        """Each constraint with the cost that it bounds; a latency here with room for the model's error."""
        return [Budget(self._with_room(c), self._cost(c)) for c in constraints]

    def _with_room(self, constraint: Constraint) -> Constraint:
        if constraint.name != "latency" or constraint.device is not None:
            return constraint
        low, high = constraint.low / (1 - self.half_width), constraint.high / (1 + self.half_width)
        return replace(constraint, low=low, high=high)

    def _cost(self, constraint: Constraint) -> ChainCost:
        if constraint.name != "latency":
            return self.costs[constraint.name]
        return self.latency if constraint.device is None else self.elsewhere[constraint.device]


def adapted_space(spec_space: Space, data: str) -> Space:
    """The space with the data's classes and channels, where its parameters do not say otherwise."""
    adapted = _adapted(spec_space, data)
    assert isinstance(adapted, Space)
    return adapted


def _adapted(spec_space: Space | StagedSpace, data: str) -> Space | StagedSpace:
    from nascli.supernet.data import properties

    classes, channels = properties(data)
    wanted = {"classes": classes, "channels": channels}
    fitting = {k: v for k, v in wanted.items() if takes_parameter(spec_space.name, k)}
    return make_any(spec_space.name, **{**fitting, **dict(spec_space.parameters)})


def run_search(settings: SearchSettings, out: Path, progress: Progress) -> dict[str, Any]:
    """Search, verify, train and report; goes on where a killed run of the same settings stopped.

    Returns:
        the document that `out`/result.json holds.

    Raises:
        NascliError: whatever the user can mend.
    """
    constraints = settings.parsed_constraints()
    given = _adapted(settings.load_any_space(), settings.data)
    digest = given.digest if isinstance(given, Space) else given.spec
    with RunFolder(out, {**settings.to_json(), "space_digest": digest}) as folder:
        done = read_json(folder.file(RESULT))
        if done is not None:
            progress.message(f"{out} is complete; to search anew, choose another --out or --seed")
            return done
        space = _learned(settings, given, constraints, folder, progress)
        images = _checked_images(settings, space, constraints)
        if _at_few_bits(space):
            from nascli.pipeline.counted_search import search_counted

            return search_counted(settings, space, images, constraints, folder, progress)
        model = _frozen_model(settings, space, folder, progress)
        feasible = FeasibleSet(space, model.budgets(constraints))
        progress.message(
            f"{format_big_integer(feasible.count())} of {format_big_integer(space.size)} "
            f"architectures satisfy {' and '.join(str(c) for c in constraints)}"
        )
        return _Run(settings, space, constraints, images, model, feasible, folder, progress).result()


def _learned(
    settings: SearchSettings,
    given: Space | StagedSpace,
    constraints: Sequence[Constraint],
    folder: RunFolder,
    progress: Progress,
) -> Space:
    """The space to search: the one that was given, or what NSS or AutoSpace learns from it."""
    if settings.algorithm not in SPACE_ALGORITHMS:
        assert isinstance(given, Space)
        return given
    from nascli.pipeline.autospace import learn_cells
    from nascli.pipeline.nss import search_space
    from nascli.supernet.data import load, require_fit

    effort, file = settings.effort, folder.file("training/space.safetensors")
    images = load(settings.data, given.input.height)
    if isinstance(given, StagedSpace):
        require_fit(images, given.input, given.classes)
        bound = next(
            (
                c
                for name in ("macs", "latency")
                for c in constraints
                if (c.name, c.device) == (name, None) and c.high != float("inf")
            ),
            None,
        )
        if bound is None:
            raise ConstraintError(
                "NSS aims at a number of MACs or a latency here.", "Add --constraint macs<=... or latency=..."
            )
        cost = None
        if bound.name == "latency":
            from nascli.pipeline.staged_latency import staged_latency

            cost = staged_latency(given, settings.where, seed=settings.seed, progress=progress)
        found = search_space(
            given,
            images,
            bound.high,
            effort.nss,
            effort.supernet_recipe(effort.nss_epochs),
            seed=settings.seed,
            file=file,
            progress=progress,
            cost=cost,
        )
        space, document = found.chain(), found.document()
    elif settings.algorithm == "nss":
        raise ConstraintError(
            f"{given.name} is no space of depths and widths.", "Choose --space nss-expanded-mini"
        )
    else:
        if not takes_parameter(given.name, "cells"):
            raise ConstraintError(f"{given.name} has no cells to learn.", "Choose --space autospace-mini")
        require_fit(images, given.input, given.output.channels)
        learned = learn_cells(
            given,
            images,
            effort.autospace,
            effort.supernet_recipe(1),
            seed=settings.seed,
            file=file,
            progress=progress,
        )
        parameters = {**dict(given.parameters), "cells": learned.text}
        space, document = make_space(given.name, **parameters), learned.document()
    write_json(folder.file("space.json"), {"spec": space.spec, **document})
    progress.message(
        f"learned space: {format_big_integer(space.size)} architectures; it is in {folder.file('space.json')}"
    )
    return space


def _frozen_model(settings: SearchSettings, space: Space, folder: RunFolder, progress: Progress) -> Model:
    """Profile what is missing and freeze the costs, so that a resumed run sees the same table."""
    file = folder.file("costs.json")
    kept = read_json(file)
    if kept is None:
        where = settings.where
        protocol = Protocol()
        work = plan(space_models(space), where, protocol)
        if work.todo:
            progress.message(
                f"{len(work.todo)} of {len(work.operators)} models (operators alone and in context) are not "
                f"in the store for {work.setup.label}; measuring them takes about "
                f"{format_seconds(work.expected_seconds)}"
            )
        table = profile_models(
            space_models(space), where, protocol=protocol, seed=settings.seed, progress=progress
        )
        latency = table_latency(space, table, f"nascli profile --space {space.spec} {where.command}")
        model = MODEL
        calibration = known_calibration(space, where, table, latency)
        half_width = 0.0
        if settings.confidence is not None:
            half_width = _half_width(calibration, settings.confidence, space, where)
        if calibration is not None:
            latency, model = calibration.cost, CALIBRATED.format(len(calibration.errors))
        progress.message(f"latency model: {model}")
        kept = {
            "model": model,
            "half_width": half_width,
            "latency": latency.to_json(),
            "fixed": _fixed(table, space),
            "elsewhere": {
                device: _elsewhere(space, where, device, progress).to_json()
                for device in sorted({c.device for c in settings.parsed_constraints() if c.device})
            },
            "setup": table.setup.to_json(),
            "table_digest": table.digest,
        }
        write_json(file, kept)
    with reading(file):
        return Model(
            latency=ChainCost.from_json(kept["latency"]),
            elsewhere={device: ChainCost.from_json(cost) for device, cost in kept["elsewhere"].items()},
            costs=_counted_costs(space, settings.parsed_constraints()),
            model=kept["model"],
            setup=kept["setup"],
            table_digest=kept["table_digest"],
            half_width=kept["half_width"],
        )


def _elsewhere(space: Space, where: Where, device: str, progress: Progress) -> ChainCost:
    """The latency of a space on another device: from its table, or from its data sheet where there is none."""
    absent = absent_device(replace(where, device=device))
    if absent is None:
        command = f"nascli profile --space {space.spec}, on {device}"
        return table_latency(space, other_table(where, device), command)
    progress.message(
        f"no table of {device} is in the store: its latency is predicted from its data sheet, which is no "
        "measurement; import one for a budget that holds (nascli lut import)"
    )
    return roofline_latency(space, absent, where.batch, where.precision)


def _half_width(calibration: Calibration | None, confidence: float, space: Space, where: Where) -> float:
    if calibration is None:
        raise ConstraintError(
            f"--confidence {confidence} needs a calibrated model of {space.spec}, whose interval is known.",
            f"Measure whole networks first: nascli calibrate --space {space.spec} {where.command}",
        )
    return calibration.half_width(confidence)


def _counted_costs(space: Space, constraints: Sequence[Constraint]) -> dict[str, ChainCost]:
    names = {"macs", *(c.name for c in constraints if c.name != "latency")}
    return {name: counted(space, name) for name in sorted(names)}


def _checked_images(settings: SearchSettings, space: Space, constraints: Sequence[Constraint]) -> Images:
    """The data, after refusing what can be refused before minutes are spent on measuring.

    Raises:
        NascliError: a space that cannot be searched, data that does not fit it, counted budgets that nothing
            meets, or a table of another device that is not there.
    """
    from nascli.supernet.data import load, require_fit

    if settings.algorithm == "nse":
        if not space.multi_branch:
            raise ConstraintError(
                f"NSE searches multi-branch spaces, and {space.name} is single-path.",
                "Choose --space nse-27-mini or another nse space: nascli spaces",
            )
    elif settings.algorithm == "pcnas":
        require_single_path(space, "PC-NAS")
    images = load(settings.data, space.input.height)
    require_fit(images, space.input, space.output.channels)
    costs = _counted_costs(space, constraints)
    FeasibleSet(space, [Budget(c, costs[c.name]) for c in constraints if c.name != "latency"])
    for device in {c.device for c in constraints if c.device}:
        if absent_device(replace(settings.where, device=device)) is None:
            other_table(settings.where, device)
    return images


def _at_few_bits(space: Space) -> bool:
    """Whether a space has convolutions that no runtime here computes."""
    nodes = (node.primitive for operator in space.operators() for node in operator.program.nodes)
    return any(isinstance(node, Conv) and node.weight_bits != 32 for node in nodes)


def _fixed(table: LatencyTable, space: Space) -> dict[str, float]:
    """Seconds of the blocks without a choice, by name."""
    found = {}
    for position, block in enumerate(space.blocks):
        if not isinstance(block, Layer):
            first, last = position == 0, position == len(space.blocks) - 1
            figure = in_context(table, block[1], first=first, last=last)
            assert figure is not None
            found[block[0]] = figure.seconds
    return found


def _finalist_of(document: dict[str, Any]) -> Finalist:
    entry = document["entry"]
    return Finalist(
        Entry(tuple(entry["codes"]), Score(**entry["score"]), entry["seconds"]),
        document["predicted"],
        Measured(**document["measured"]),
        document["within"],
    )


class _Run:
    """One search under way."""

    def __init__(
        self,
        settings: SearchSettings,
        space: Space,
        constraints: Sequence[Constraint],
        images: Images,
        model: Model,
        feasible: FeasibleSet,
        folder: RunFolder,
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.space = space
        self.constraints = constraints
        self.model = model
        self.feasible = feasible
        self.folder = folder
        self.progress = progress
        self.images = images
        # Spaces of architectures whose widths were changed, by code.
        self.resized: dict[tuple[int, ...], Space] = {}

    def result(self) -> dict[str, Any]:
        ranked, identity = self._search()
        if self.settings.algorithm == "nse" and self.settings.effort.nse.rescale:
            self._resize(ranked[: self.settings.effort.finalists])
        finalists = self._verified(ranked)
        winner = self._winner([f for f in finalists if f.within])
        self.progress.message(
            f"winner: measured {format_seconds(winner.measured.seconds)} "
            f"(predicted {format_seconds(winner.predicted)})"
        )
        document = self._document(winner, finalists, ranked, identity)
        write_json(self.folder.file(RESULT), document)
        return document

    def _resize(self, entries: Sequence[Entry]) -> None:
        """Widen or narrow architectures to their budget, where all of it can be counted (NSE, section 4.1)."""
        counted = [c for c in self.constraints if c.name != "latency" and c.high != float("inf")]
        if len(counted) < len(self.constraints):
            return
        for entry in entries:
            space = rescaled(self.space, entry.codes, counted)
            if space.spec != self.space.spec:
                self.resized[tuple(entry.codes)] = space
        if self.resized:
            self.progress.message(f"{len(self.resized)} architectures rescaled to the budget")

    def _space_of(self, codes: Sequence[int]) -> Space:
        return self.resized.get(tuple(codes), self.space)

    def _predicted(self, codes: Sequence[int]) -> float:
        """Latency by the model; of a rescaled architecture by a table of its own operators."""
        codes = tuple(codes)
        if codes not in self.resized:
            return float(self.model.latency(self._row(codes))[0])
        own, code = narrowed_to(self.resized[codes], codes)
        cost, _ = self._own_costs(own)
        return float(cost(own.check(np.array([code])))[0])

    def _own_costs(self, own: Space) -> tuple[ChainCost, dict[str, float]]:
        table = profile_models(
            space_models(own),
            self.settings.where,
            protocol=Protocol(),
            seed=self.settings.seed,
            progress=self.progress,
        )
        return table_latency(own, table, "nascli profile"), _fixed(table, own)

    def _winner(self, fitting: Sequence[Finalist]) -> Finalist:
        """The best by its score; of PC-NAS and NSE, whose papers train the last candidates, by that training."""
        if self.settings.algorithm not in TRAINED_CHOICE:
            return max(fitting, key=lambda f: f.entry.score)
        tops = [self._train("finalist", f.entry.codes)["validation_top1"] for f in fitting]
        return fitting[int(np.argmax(tops))]

    def _search(self) -> tuple[list[Entry], str]:
        from nascli.pipeline.algorithms import Task, find

        task = Task(
            self.settings,
            self.images,
            self.feasible,
            self.model.budgets(self.constraints),
            self.folder,
            self.progress,
        )
        found = find(task)
        return found.ranked, found.identity

    def _verified(self, ranked: list[Entry]) -> list[Finalist]:
        file = self.folder.file("finalists.json")
        kept = read_json(file)
        if kept is not None:
            with reading(file):
                return [_finalist_of(document) for document in kept["finalists"]]
        here = [c for c in self.constraints if c.name == "latency" and c.device is None]
        window = (here[0].low, here[0].high) if here else (-float("inf"), float("inf"))

        def predict(entry: Entry) -> float:
            return self._predicted(entry.codes)

        def measure(entries: Sequence[Entry]) -> list[Measured]:
            figures = self._measure([entry.codes for entry in entries])
            return [Measured(figure.seconds, figure.low, figure.high) for figure in figures]

        finalists = verify(ranked, predict, measure, window, self.settings.effort.finalists)
        # Kept, since what is measured later moves every figure of a table a little: a resumed run must
        # train the same winner.
        write_json(file, {"finalists": [asdict(finalist) for finalist in finalists]})
        return finalists

    def _measure(self, rows: Sequence[Sequence[int]]) -> list[Any]:
        networks = [self._space_of(row).network(row, f"{self.space.name} {list(row)}") for row in rows]
        return measure_networks(
            networks,
            self.settings.where,
            protocol=FINAL_PROTOCOL,
            seed=self.settings.seed,
            progress=self.progress,
            # Networks of other widths say nothing about the space's own cost model.
            members=None if self.resized else (self.space, rows),
        )

    def _row(self, codes: Sequence[int]) -> Codes:
        return self.space.check(np.array([codes]))

    def _contenders(self, winner: Finalist) -> dict[str, tuple[int, ...]]:
        rng = np.random.default_rng([self.settings.seed, 12])
        random = self.feasible.sample(1, rng)[0]
        largest = best(self.feasible, self.model.costs["macs"].unary)
        rows = {"winner": winner.entry.codes, "random": random.tolist(), "largest": largest.tolist()}
        return {name: tuple(int(code) for code in row) for name, row in rows.items()}

    def _document(
        self, winner: Finalist, finalists: list[Finalist], ranked: list[Entry], identity: str
    ) -> dict[str, Any]:
        contenders = self._contenders(winner)
        figures = dict(zip(contenders, self._measure(list(contenders.values())), strict=True))
        trained = {name: self._train(name, codes) for name, codes in contenders.items()}
        rows = {
            name: {
                **self._facts(codes),
                "measured_latency_s": figures[name].seconds,
                "measured_interval_s": [figures[name].low, figures[name].high],
                **trained[name],
            }
            for name, codes in contenders.items()
        }
        best = rows.pop("winner")
        if tuple(winner.entry.codes) in self.resized:
            own, _ = narrowed_to(self._space_of(winner.entry.codes), winner.entry.codes)
            cost, fixed = self._own_costs(own)
            write_json(self.folder.file(WINNER_COSTS), {"latency": cost.to_json(), "fixed": fixed})
        return {
            "format": "nascli-result",
            "version": 1,
            "algorithm": self.settings.algorithm,
            "space": self._space_of(winner.entry.codes).spec,
            "searched_space": self.space.spec,
            "space_size": str(self.space.size),
            "feasible_count": self.feasible.count(),
            "data": self.settings.data,
            "budget": [
                {
                    "cost": c.name,
                    "device": c.device or (self.settings.where.device if c.name == "latency" else None),
                    "low": None if c.low == -float("inf") else c.low,
                    "high": None if c.high == float("inf") else c.high,
                }
                for c in self.constraints
            ],
            "constraints": list(self.settings.constraints),
            "codes": list(winner.entry.codes),
            "predicted_latency_s": {
                "value": winner.predicted,
                "kind": self.model.latency.kind,
                "model": self.model.model,
                "setup": self.model.setup,
                "table_digest": self.model.table_digest,
            },
            "measured_latency_s": winner.measured.seconds,
            "measured_interval_s": [winner.measured.low, winner.measured.high],
            "macs": best["macs"],
            "params": best["params"],
            "supernet_top1": winner.entry.score.value,
            "retrained_top1": best["top1"],
            "retrained_top1_interval": best["top1_interval"],
            "export_max_difference": best["export_max_difference"],
            "baselines": rows,
            "finalists": [self._finalist(finalist) for finalist in finalists],
            "evaluations": len(ranked),
            "supernet": identity,
            "seed": self.settings.seed,
            "table_digest": self.model.table_digest,
            "versions": versions(),
        }

    def _facts(self, codes: Sequence[int]) -> dict[str, Any]:
        counts = self._space_of(codes).network(codes).counts
        return {
            "codes": list(codes),
            "macs": counts.macs,
            "params": counts.params,
            "predicted_latency_s": self._predicted(codes),
        }

    def _finalist(self, finalist: Finalist) -> dict[str, Any]:
        return {
            **self._facts(finalist.entry.codes),
            "supernet_top1": finalist.entry.score.value,
            "measured_latency_s": finalist.measured.seconds,
            "measured_interval_s": [finalist.measured.low, finalist.measured.high],
            "within_budget": finalist.within,
        }

    def _train(self, name: str, codes: Sequence[int]) -> dict[str, Any]:
        from nascli.pipeline.export import save_network
        from nascli.pipeline.training import train_network
        from nascli.supernet.recipe import Recipe

        network = self._space_of(codes).network(codes, name)
        trained = train_network(
            network,
            self.images,
            Recipe(epochs=self.settings.effort.retrain_epochs, batch=32),
            seed=self.settings.seed,
            file=self.folder.file(f"training/network-{'-'.join(map(str, codes))}.safetensors"),
            progress=self.progress,
            title=f"{name} from scratch",
        )
        document: dict[str, Any] = {
            "top1": trained.top1,
            "top1_interval": [trained.low, trained.high],
            "validation_top1": trained.validation_top1,
        }
        if name == "winner":
            architecture = Architecture.of(self._space_of(codes), np.array(codes), "winner")
            document["export_max_difference"] = save_network(
                architecture, trained.blocks, self.folder.path, self.settings.where.batch, self.images
            )
        return document


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"nascli": __version__, "python": platform.python_version()}
    for package in ("torch", "onnx", "onnxruntime", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
