"""Why to believe a result: budgets, agreement of model and device, repeatability, and where the figures come from."""

from __future__ import annotations

from nascli.report.charts import BoundedFigure
from nascli.report.run_summary import LatencyFigures, MeasuredLatency, RunSummary
from nascli.units import format_seconds


def budget_rows(run: RunSummary) -> list[dict[str, str]]:
    """Return a row for each constraint: its bounds, the winner's figure, where that is from, and whether it is kept."""
    rows = []
    for budget in run.budgets:
        cost = BoundedFigure(budget.cost, budget.is_time)
        bounds = [
            None if budget.low is None else f"at least {cost.text(budget.low)}",
            None if budget.high is None else f"at most {cost.text(budget.high)}",
        ]
        rows.append(
            {
                "what": cost.name + (f" on {budget.device}" if budget.device else ""),
                "bound": " and ".join(bound for bound in bounds if bound),
                "value": "-" if budget.value is None else cost.text(budget.value),
                "kind": budget.kind,
                # Empty for false, as the template asks.
                "kept": "kept" if budget.is_kept else "",
            }
        )
    return rows


def agreement_text(run: RunSummary, latency: LatencyFigures) -> str:
    """Return how far the model was off on the networks that were measured end to end."""
    pairs = [(each.predicted, each.measured) for each in latency.finalists]
    pairs += [
        (network.predicted, network.measured)
        for network in run.baselines.values()
        if network.predicted is not None and network.measured is not None
    ]
    errors = [abs(predicted / measured - 1) for predicted, measured in pairs if measured > 0]
    return (
        f"Over {len(errors)} whole networks the model was off by {sum(errors) / len(errors):.1%} on average, "
        f"{max(errors):.1%} at most."
    )


def quality_rows(latency: LatencyFigures) -> list[tuple[str, str]]:
    """Return names and values of intervals, repeatability, and the state of the machine, as far as recorded."""
    low, high = latency.interval
    measured, quality = latency.measured, latency.quality
    within = sum(finalist.within_budget for finalist in latency.finalists)
    rows = [
        (
            "finalists whose whole interval is within the budget",
            f"{within} of {len(latency.finalists)} that were measured",
        ),
        (
            "the winner's interval (95 %)",
            f"{format_seconds(low)} to {format_seconds(high)}, ±{(high - low) / 2 / measured:.1%}",
        ),
    ]
    again = latency.measured_again
    if again is not None:
        rows.append(
            (
                "the winner once more, with the baselines",
                f"{format_seconds(again)}, {again / measured - 1:+.1%}",
            )
        )
    if quality.models:
        settled = f"{quality.settled} of {quality.models} (alone and in context)"
        rows += [
            ("operators settled within 1 %", f"{settled}; median interval ±{_share(quality.half_interval)}"),
            ("two halves of an operator's rounds differ by (median)", _share(quality.halves_apart)),
            ("operators measured while the device was slowed down", str(quality.throttled)),
            (
                "meanwhile, by round (median)",
                f"{_cores(quality.elsewhere_cores)} busy elsewhere, {_share(quality.steal)} stolen by the "
                f"hypervisor, {_share(quality.cpu_pressure)} of the time somebody waited for a core, "
                f"{quality.rounds} rounds",
            ),
        ]
    return rows


def provenance_rows(run: RunSummary) -> list[tuple[str, str]]:
    """Return names and values of everything that the figures depend on: setup, table, space, data, seed, versions."""
    rows = []
    if run.measured is not None:
        rows.append(("setup", setup_text(run.measured)))
    if run.latency is not None:
        latency, quality = run.latency, run.latency.quality
        rows += [
            ("cost model", f"{latency.model} ({latency.kind})"),
            ("table", latency.table_digest),
        ]
        if quality.taken:
            rows.append(("operators measured from, to", " to ".join(dict.fromkeys(quality.taken))))
        if quality.device:
            rows.append(("device", ", ".join(f"{k} {v}" for k, v in quality.device.items() if v)))
    rows += [
        ("space", f"{run.space}, {run.space_size:,} architectures"),
        ("data", run.data),
        ("supernet", run.supernet),
        ("codes", str(list(run.architecture))),
        ("seed", str(run.seed)),
    ]
    if run.export_max_difference is not None:
        rows.append(("largest difference of logits, ONNX against torch", f"{run.export_max_difference:.2g}"))
    if run.finished_on is not None:
        rows.append(("finished on", run.finished_on))
    return [*rows, ("versions", ", ".join(f"{k} {v}" for k, v in run.versions.items()))]


def setup_text(latency: MeasuredLatency) -> str:
    """Return the setup of the measurements on one line."""
    return ", ".join(f"{name} {value}" for name, value in latency.setup.items() if value != "")


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _cores(value: float | None) -> str:
    return "an unknown number of cores" if value is None else f"{value:.2f} cores"
