"""What the pages show of a finished run, read from the document of result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BudgetFigure:
    """One constraint, and the winner's figure.

    Attributes:
        cost: The name of the cost.
        device: The device that the user named; None where the cost has none.
        is_here: Whether the figure is of the device on which the run measured.
        low: The lower bound in SI units; None where there is none.
        high: The upper bound in SI units; None where there is none.
        value: The winner's figure; None where it is not known.
        kind: Where the figure comes from, such as 'measured' or 'counted'.
    """

    cost: str
    device: str | None
    is_here: bool
    low: float | None
    high: float | None
    value: float | None
    kind: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> BudgetFigure:
        """Read an entry of 'budget'."""
        return cls(
            document["cost"],
            document.get("device"),
            document.get("here", True),
            document["low"],
            document["high"],
            document.get("value"),
            document.get("kind", "-"),
        )

    @property
    def is_time(self) -> bool:
        """Whether the cost is a latency."""
        return self.cost == "latency"

    @property
    def is_kept(self) -> bool:
        """Whether the winner is known to be within the bounds."""
        return (
            self.value is not None
            and (self.low is None or self.low <= self.value)
            and (self.high is None or self.value <= self.high)
        )


@dataclass(frozen=True)
class TrainedNetwork:
    """A network that was trained at the end of a run.

    Attributes:
        top1: Its top-1 on the test part, from 0 to 1.
        top1_interval: The 95 % interval of `top1`.
        macs: MACs per image.
        params: The number of parameters.
        costs: Its counted costs by name, as far as the run bounded them.
        measured: Its latency in seconds; None where nothing was measured.
        predicted: Its latency by the model in seconds; None likewise.
    """

    top1: float
    top1_interval: tuple[float, float]
    macs: float
    params: float
    costs: Mapping[str, float]
    measured: float | None
    predicted: float | None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrainedNetwork:
        """Read an entry of 'baselines'."""
        costs = document.get("costs", {})
        return cls(
            document["top1"],
            _interval(document["top1_interval"]),
            document.get("macs", costs.get("macs")),
            document.get("params", costs.get("params")),
            costs,
            document.get("measured_latency_s"),
            document.get("predicted_latency_s"),
        )


@dataclass(frozen=True)
class MeasuredFinalist:
    """A candidate that was measured end to end.

    Attributes:
        predicted: Its latency by the model, in seconds.
        measured: Its latency on the device, in seconds.
        within_budget: Whether its whole interval is within the budget.
    """

    predicted: float
    measured: float
    within_budget: bool


@dataclass(frozen=True)
class TableQuality:
    """How well the measurements of the table repeat; entries that were not recorded are None.

    Attributes:
        models: The number of measured models, alone and in context; 0 where nothing was recorded.
        settled: The number of those whose interval is within 1 %.
        half_interval: Half the width of the relative interval, the median over models.
        halves_apart: The relative difference between two halves of a model's rounds, the median over models.
        throttled: The number of models that were measured while the device was slowed down.
        elsewhere_cores: The number of cores that other processes kept busy, the median over rounds.
        steal: The share of the time that the hypervisor took, the median over rounds.
        cpu_pressure: The share of the time in which a process waited for a core, the median over rounds.
        rounds: The number of rounds.
        taken: When the first and the last sample were taken.
        device: Facts of the device by name.
    """

    models: int = 0
    settled: int = 0
    half_interval: float | None = None
    halves_apart: float | None = None
    throttled: int = 0
    elsewhere_cores: float | None = None
    steal: float | None = None
    cpu_pressure: float | None = None
    rounds: int = 0
    taken: tuple[str, ...] = ()
    device: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TableQuality:
        """Read 'evidence'."""
        known = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(**{**known, "taken": tuple(document.get("taken") or ())})


@dataclass(frozen=True, kw_only=True)
class MeasuredLatency:
    """The latency of a winner that was measured.

    Attributes:
        measured: The winner's latency end to end, in seconds.
        interval: The 95 % interval of `measured`.
        setup: The setup of the measurement by name.
    """

    measured: float
    interval: tuple[float, float]
    setup: Mapping[str, Any]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MeasuredLatency:
        """Read the latency's part of a result, with a latency model or without one."""
        if document.get("predicted_latency_s") is not None:
            return LatencyFigures.from_json(document)
        interval = _interval(document["measured_interval_s"])
        return cls(measured=document["measured_latency_s"], interval=interval, setup=document["setup"])


@dataclass(frozen=True, kw_only=True)
class LatencyFigures(MeasuredLatency):
    """Everything about the latency of a run that searched by a latency model.

    Attributes:
        measured_again: The winner's latency, measured once more with the baselines; None where it was not.
        predicted: The winner's latency by the model, in seconds.
        kind: How the model comes to it, such as 'calibrated'.
        model: The model in words.
        table_digest: The digest of the table.
        finalists: The candidates that were measured end to end.
        quality: How well the measurements of the table repeat.
    """

    measured_again: float | None
    predicted: float
    kind: str
    model: str
    table_digest: str
    finalists: tuple[MeasuredFinalist, ...]
    quality: TableQuality

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LatencyFigures:
        """Read the latency's part of the result of such a run."""
        predicted = document["predicted_latency_s"]
        finalists = tuple(
            MeasuredFinalist(row["predicted_latency_s"], row["measured_latency_s"], row["within_budget"])
            for row in document["finalists"]
        )
        return cls(
            measured=document["measured_latency_s"],
            interval=_interval(document["measured_interval_s"]),
            setup=predicted["setup"],
            measured_again=document.get("measured_again_s"),
            predicted=predicted["value"],
            kind=predicted["kind"],
            model=predicted["model"],
            table_digest=document["table_digest"],
            finalists=finalists,
            quality=TableQuality.from_json(document.get("evidence") or {}),
        )


@dataclass(frozen=True)
class RunSummary:
    """A finished run.

    Attributes:
        algorithm: The name of the algorithm.
        space: The spec of the space.
        space_size: The number of architectures of the space.
        data: The name of the data.
        seed: The seed.
        constraints: The constraints in the user's words.
        budgets: Each constraint with the winner's figure.
        evaluations: The number of evaluated architectures.
        winner: The network that won.
        architecture: The choices of the winner.
        supernet: Which supernet ranked the architectures.
        supernet_top1: The winner's validation top-1 with inherited weights.
        baselines: Other networks that were trained in the same way, by name.
        measured: The winner's latency; None where nothing was measured.
        warning: What to say where the device contradicts the latency model; None where they agree.
        export_max_difference: The largest difference of logits between the ONNX model and torch; None without one.
        finished_on: The date; None in old results.
        versions: Versions of packages by name.
    """

    algorithm: str
    space: str
    space_size: int
    data: str
    seed: int
    constraints: tuple[str, ...]
    budgets: tuple[BudgetFigure, ...]
    evaluations: int
    winner: TrainedNetwork
    architecture: tuple[int, ...]
    supernet: str
    supernet_top1: float
    baselines: Mapping[str, TrainedNetwork]
    measured: MeasuredLatency | None
    warning: str | None
    export_max_difference: float | None
    finished_on: str | None
    versions: Mapping[str, str]

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunSummary:
        """Read the document of result.json, of this version or an older one.

        Raises:
            KeyError, TypeError, ValueError: The document is not a result.
        """
        measured = None if document["measured_latency_s"] is None else MeasuredLatency.from_json(document)
        winner = TrainedNetwork(
            document["retrained_top1"],
            _interval(document["retrained_top1_interval"]),
            document["macs"],
            document["params"],
            document.get("costs", {}),
            None if measured is None else measured.measured,
            measured.predicted if isinstance(measured, LatencyFigures) else None,
        )
        return cls(
            algorithm=document["algorithm"],
            space=document["space"],
            space_size=int(document["space_size"]),
            data=document["data"],
            seed=document["seed"],
            constraints=tuple(document["constraints"]),
            budgets=tuple(BudgetFigure.from_json(budget) for budget in document["budget"]),
            evaluations=document["evaluations"],
            winner=winner,
            architecture=tuple(document["codes"]),
            supernet=document["supernet"],
            supernet_top1=document["supernet_top1"],
            baselines={name: TrainedNetwork.from_json(row) for name, row in document["baselines"].items()},
            measured=measured,
            warning=document.get("warning"),
            export_max_difference=document.get("export_max_difference"),
            finished_on=document.get("finished_on"),
            versions=document["versions"],
        )

    @property
    def latency(self) -> LatencyFigures | None:
        """Everything about the latency of a run that searched by a latency model; None for other runs."""
        return self.measured if isinstance(self.measured, LatencyFigures) else None

    @property
    def budget_text(self) -> str:
        """The constraints in the user's words."""
        return " and ".join(self.constraints)


def _interval(ends: Sequence[float]) -> tuple[float, float]:
    low, high = ends
    return low, high
