"""Why to believe a result: budgets against what was found, how far the model was off, how well figures repeat."""

from __future__ import annotations

from typing import Any

from nascli.report.charts import BoundedFigure
from nascli.units import format_seconds


def budget_lines(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Each constraint, what the winner has of it, where that figure is from, and whether it is kept."""
    lines = []
    for budget in result["budget"]:
        cost = BoundedFigure(budget["cost"], budget["cost"] == "latency")
        low, high, value = budget["low"], budget["high"], budget.get("value")
        ends = [
            None if low is None else f"at least {cost.text(low)}",
            None if high is None else f"at most {cost.text(high)}",
        ]
        lines.append(
            {
                "what": cost.name + (f" on {budget['device']}" if budget.get("device") else ""),
                "bound": " and ".join(end for end in ends if end),
                "value": "-" if value is None else cost.text(value),
                "kind": budget.get("kind", "-"),
                "kept": value is not None
                and (low is None or low <= value)
                and (high is None or value <= high),
            }
        )
    return lines


def agreement_text(result: dict[str, Any]) -> str:
    """How far the model was off on the networks that were measured whole."""
    errors = [
        abs(row["predicted_latency_s"] / row["measured_latency_s"] - 1)
        for row in [*result["finalists"], *result["baselines"].values()]
        if row["measured_latency_s"] > 0
    ]
    return (
        f"Over {len(errors)} whole networks the model was off by {sum(errors) / len(errors):.1%} on average, "
        f"{max(errors):.1%} at most."
    )


def quality_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Coverage, repeatability and the state of the machine, as far as they were recorded."""
    low, high = result["measured_interval_s"]
    measured = result["measured_latency_s"]
    within = sum(finalist["within_budget"] for finalist in result["finalists"])
    found = [
        (
            "finalists whose whole interval is within the budget",
            f"{within} of {len(result['finalists'])} that were measured",
        ),
        (
            "the winner's interval (95 %)",
            f"{format_seconds(low)} to {format_seconds(high)}, ±{(high - low) / 2 / measured:.1%}",
        ),
    ]
    again = result.get("measured_again_s")
    if again is not None:
        found.append(
            (
                "the winner once more, with the baselines",
                f"{format_seconds(again)}, {again / measured - 1:+.1%}",
            )
        )
    seen = result.get("evidence") or {}
    if seen.get("models"):
        settled = f"{seen['settled']} of {seen['models']} (alone and in context)"
        found.append(
            ("operators settled within 1 %", f"{settled}; median interval ±{_share(seen['half_interval'])}")
        )
        found.append(("two halves of an operator's rounds differ by (median)", _share(seen["halves_apart"])))
        found.append(("operators measured while the device was slowed down", str(seen["throttled"])))
        found.append(
            (
                "meanwhile, by round (median)",
                f"{_cores(seen['elsewhere_cores'])} busy elsewhere, {_share(seen['steal'])} stolen by the "
                f"hypervisor, {_share(seen['cpu_pressure'])} of the time somebody waited for a core, "
                f"{seen['rounds']} rounds",
            )
        )
    return found


def provenance(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the figures come from."""
    rows = []
    if result["measured_latency_s"] is not None:
        predicted, seen = result["predicted_latency_s"], result.get("evidence") or {}
        rows += [
            ("setup", ", ".join(f"{k} {v}" for k, v in predicted["setup"].items() if v != "")),
            ("cost model", f"{predicted['model']} ({predicted['kind']})"),
            ("table", result["table_digest"]),
        ]
        if seen.get("taken"):
            rows.append(("operators measured from, to", " to ".join(dict.fromkeys(seen["taken"]))))
        if seen.get("device"):
            rows.append(("device", ", ".join(f"{k} {v}" for k, v in seen["device"].items() if v)))
    rows += [
        ("space", f"{result['space']}, {int(result['space_size']):,} architectures"),
        ("data", result["data"]),
        ("supernet", result["supernet"]),
        ("codes", str(result["codes"])),
        ("seed", str(result["seed"])),
    ]
    if "export_max_difference" in result:
        rows.append(
            ("largest difference of logits, ONNX against torch", f"{result['export_max_difference']:.2g}")
        )
    if "finished_on" in result:
        rows.append(("finished on", result["finished_on"]))
    return [*rows, ("versions", ", ".join(f"{k} {v}" for k, v in result["versions"].items()))]


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _cores(value: float | None) -> str:
    return "an unknown number of cores" if value is None else f"{value:.2f} cores"
