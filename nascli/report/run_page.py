"""The report of a search: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nascli.report.charts import (
    PlottedEvaluation,
    agreement_chart,
    bound_here,
    convergence_chart,
    front_chart,
)
from nascli.report.html import page_of, picture
from nascli.report.network_drawing import DrawnBlock, block_rows, network_drawing
from nascli.report.provenance import agreement_text, budget_lines, provenance, quality_rows
from nascli.report.story import Story
from nascli.units import format_count, format_seconds


def _budget_text(result: dict[str, Any]) -> str:
    return " and ".join(result["constraints"])


def _headline(result: dict[str, Any]) -> str:
    """The answer: what was found for which budget."""
    top1 = f"{result['retrained_top1']:.2%} top-1"
    if result["measured_latency_s"] is None:
        found = ", ".join(f"{format_count(b['value'])} {b['cost']}" for b in result["budget"])
        return f"{found} for {_budget_text(result)}: {top1}"
    measured = format_seconds(result["measured_latency_s"])
    if any(b["cost"] == "latency" and b.get("here", True) for b in result["budget"]):
        return f"{measured} measured for {_budget_text(result)}: {top1}"
    return f"{format_count(result['macs'])} MACs for {_budget_text(result)}: {top1}, {measured} measured"


def _bounded(row: dict[str, Any], cost: str) -> str:
    """A network's own figure of a counted cost that the search bounded."""
    found = row.get("costs", {}).get(cost)
    return "-" if found is None else format_count(found)


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_seconds(value)


def trained_networks(result: dict[str, Any]) -> list[dict[str, str]]:
    """The networks that were trained at the end, the winner first, in the words that people read."""
    winner = {
        "top1": result["retrained_top1"],
        "top1_interval": result["retrained_top1_interval"],
        "measured_latency_s": result["measured_latency_s"],
        "predicted_latency_s": result.get("predicted_latency_s", {}).get("value"),
        "costs": result.get("costs", {}),
        "macs": result["macs"],
        "params": result["params"],
    }
    first = result["budget"][0]["cost"]
    names = {"random": "random feasible", "largest": "largest feasible"}
    rows = [("winner", winner), *((names.get(k, k), v) for k, v in result["baselines"].items())]
    return [
        {
            "name": name,
            "top1": f"{row['top1']:.2%}",
            "low": f"{row['top1_interval'][0]:.1%}",
            "high": f"{row['top1_interval'][1]:.1%}",
            "measured": _seconds(row.get("measured_latency_s")),
            "predicted": _seconds(row.get("predicted_latency_s")),
            "bounded": _bounded(row, first),
            "macs": format_count(row.get("macs", row.get("costs", {}).get("macs"))),
            "params": format_count(row.get("params", row.get("costs", {}).get("params"))),
        }
        for name, row in rows
    ]


def _facts(result: dict[str, Any]) -> list[dict[str, str]]:
    first, last = result["retrained_top1_interval"]
    facts = []
    if result["measured_latency_s"] is not None:
        low, high = result["measured_interval_s"]
        facts.append(
            {
                "value": format_seconds(result["measured_latency_s"]),
                "name": f"measured end to end, batch {result['predicted_latency_s']['setup']['batch']} "
                f"[{format_seconds(low)}, {format_seconds(high)}]",
            }
        )
    return [
        *facts,
        {"value": f"{result['retrained_top1']:.2%}", "name": f"test top-1 [{first:.1%}, {last:.1%}]"},
        {"value": format_count(result["macs"]), "name": "MACs per image"},
        {"value": format_count(result["params"]), "name": "parameters"},
        {"value": str(result["evaluations"]), "name": "architectures evaluated"},
    ]


def render(
    result: dict[str, Any],
    evaluated: Sequence[PlottedEvaluation],
    blocks: Sequence[DrawnBlock],
    stories: Sequence[Story] = (),
    *,
    rest: float = 0.0,
    failed: int = 0,
) -> str:
    """The whole page.

    Args:
        result: the document of result.json.
        evaluated: all evaluations in order that gave a score.
        blocks: the winner's blocks.
        stories: further pictures of how the search went.
        rest: seconds of the winner's predicted latency that belong to no block.
        failed: evaluations that gave none.

    Returns:
        HTML that loads nothing from elsewhere; all text from outside is escaped.
    """
    measured = result["measured_latency_s"] is not None
    place = ""
    if measured:
        setup = result["predicted_latency_s"]["setup"]
        place = f", on {setup['device']} with {setup['runtime']} {setup['runtime_version']}"
    cost, _ = bound_here(result)
    return page_of(
        "page",
        headline=_headline(result),
        subline=f"{result['space']} on {result['data']}, searched with {result['algorithm']}{place}",
        facts=_facts(result),
        budgets=budget_lines(result),
        cost=cost.name,
        front=picture(front_chart(result, evaluated)),
        agreement=picture(agreement_chart(result)) if measured else None,
        belief=agreement_text(result) if measured else None,
        warning=result.get("warning"),
        reasons=quality_rows(result) if measured else [],
        convergence=picture(convergence_chart(evaluated)),
        failed=failed,
        stories=[{"title": s.title, "text": s.text, "svg": picture(s.svg)} for s in stories],
        contenders=trained_networks(result),
        drawing=picture(network_drawing(blocks)),
        blocks=block_rows(blocks, rest),
        provenance=provenance(result),
    )
