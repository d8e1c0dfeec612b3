"""What a search ends in: the winner, its rivals, and the evidence; and the document that keeps it."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nascli.costmodel import Constraint
from nascli.costmodel.budgets import CostValue
from nascli.errors import Remedy, RunError
from nascli.files import read_json, reading
from nascli.lut import Measurement
from nascli.search.base import Choices
from nascli.search.run_folder import ARCHITECTURE, RESULT, WEIGHTS
from nascli.spaces.architecture import Architecture
from nascli.version import __version__

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainedCandidate:
    """A network that was trained from scratch at the end of a search.

    Attributes:
        architecture: Its choices in the space that was searched.
        costs: Its counted costs by name: MACs, parameters, and what was bounded.
        top1: Top-1 on the test part, from 0 to 1.
        top1_interval: The 95 % interval of `top1`.
        validation_top1: Top-1 on the validation part; None where the result does not hold it.
        latency: The latency end to end; None where nothing was measured.
        predicted_latency: The latency model's figure in seconds; None where the search had no latency model.
    """

    architecture: Choices
    costs: Mapping[str, float]
    top1: float
    top1_interval: tuple[float, float]
    validation_top1: float | None = None
    latency: Measurement | None = None
    predicted_latency: float | None = None


@dataclass(frozen=True)
class BudgetValue:
    """A constraint, and what the winner has of it.

    Attributes:
        constraint: The constraint.
        device: The device that it is about; None for counted costs.
        value: The winner's figure, and where it is from.
    """

    constraint: Constraint
    device: str | None
    value: CostValue

    def to_json(self) -> dict[str, Any]:
        """As a JSON document; a bound that is not there is None."""
        low, high = self.constraint.low, self.constraint.high
        return {
            "cost": self.constraint.name,
            "device": self.device,
            # Another device's latency was not measured in this run.
            "here": self.constraint.device is None,
            "low": None if math.isinf(low) else low,
            "high": None if math.isinf(high) else high,
            "value": self.value.value,
            "kind": self.value.kind,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BudgetValue:
        """Back from `to_json`."""
        constraint = Constraint(
            document["cost"],
            -math.inf if document["low"] is None else document["low"],
            math.inf if document["high"] is None else document["high"],
            None if document.get("here", True) else document["device"],
        )
        return cls(constraint, document["device"], CostValue(document["value"], document["kind"]))


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        folder: The run's folder, with the report, the network, and everything that was evaluated.
        winner: The network that won.
        baselines: Other networks that were trained in the same way, by name.
        budget: Each constraint with what the winner has of it.
        feasible_count: How many architectures satisfy the constraints.
        feasible_exact: Whether that number is exact, or an estimate.
        evaluations: How many candidates the search ranked.
        warning: What to say where the device contradicts the latency model; None where they agree.
        document: The whole result, as result.json holds it.
    """

    folder: Path
    winner: TrainedCandidate
    baselines: Mapping[str, TrainedCandidate]
    budget: tuple[BudgetValue, ...]
    feasible_count: int
    feasible_exact: bool
    evaluations: int
    warning: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def latency(self) -> float | None:
        """The winner's latency in seconds, measured end to end; None where nothing was measured."""
        return None if self.winner.latency is None else self.winner.latency.seconds

    @property
    def is_exported(self) -> bool:
        """Whether the folder holds the winner as an ONNX model; a network with low bit widths has none."""
        return self.document.get("export_max_difference") is not None

    @property
    def top1(self) -> float:
        """The winner's top-1 on the test part, from 0 to 1."""
        return self.winner.top1

    @property
    def architecture(self) -> Architecture:
        """The winner, in the space in whose widths it is built."""
        return Architecture.load(self.folder / ARCHITECTURE)

    @property
    def network(self) -> nn.Module:
        """The trained winner as a module in evaluation mode, on the CPU."""
        from nascli.supernet.modules import load_network

        return load_network(self.architecture.network, self.folder / WEIGHTS)

    def to_json(self) -> dict[str, Any]:
        """The whole result as a JSON document."""
        return dict(self.document)

    @classmethod
    def from_json(cls, document: Mapping[str, Any], folder: Path) -> SearchResult:
        """Read the document of a result, of this version or of 0.1.0.

        Raises:
            RunError: The document lacks what a result has.
        """
        with reading(folder / RESULT):
            winner = _winner(document)
            return cls(
                folder,
                winner,
                {name: _baseline(row) for name, row in document["baselines"].items()},
                tuple(BudgetValue.from_json(row) for row in document["budget"]),
                int(document["feasible_count"]),
                bool(document["feasible_count_exact"]),
                int(document["evaluations"]),
                document.get("warning"),
                document,
            )


def read_result(folder: Path) -> SearchResult:
    """The result of a finished run.

    Raises:
        RunError: The folder is not a finished run, or its result is damaged.
    """
    document = read_json(folder / RESULT)
    if document is None:
        raise RunError(
            f"{folder} is not a finished run: it has no {RESULT}.",
            "Finish it with the search that began it.",
            Remedy(job="search", arguments={"out": folder}),
        )
    return SearchResult.from_json(document, folder)


def _winner(document: Mapping[str, Any]) -> TrainedCandidate:
    predicted = document.get("predicted_latency_s")
    return TrainedCandidate(
        tuple(document["codes"]),
        {**document.get("costs", {}), "macs": document["macs"], "params": document["params"]},
        document["retrained_top1"],
        tuple(document["retrained_top1_interval"]),
        document.get("validation_top1"),
        _measurement(document),
        None if predicted is None else predicted["value"],
    )


def _baseline(row: Mapping[str, Any]) -> TrainedCandidate:
    counts = {name: row[name] for name in ("macs", "params") if name in row}
    return TrainedCandidate(
        tuple(row["codes"]),
        {**row.get("costs", {}), **counts},
        row["top1"],
        tuple(row["top1_interval"]),
        row.get("validation_top1"),
        _measurement(row),
        row.get("predicted_latency_s"),
    )


def _measurement(row: Mapping[str, Any]) -> Measurement | None:
    """The latency of a row; how many rounds it is of, a result does not hold."""
    if row.get("measured_latency_s") is None:
        return None
    low, high = row["measured_interval_s"]
    return Measurement(row["measured_latency_s"], low, high, 0)


def versions(packages: Sequence[str] = ("torch", "onnx", "onnxruntime", "numpy")) -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"nascli": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
