"""The report of a search: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.report.charts import (
    PlottedEvaluation,
    agreement_chart,
    bounded_figure,
    convergence_chart,
    front_chart,
)
from nascli.report.html import page_of, picture
from nascli.report.network_drawing import DrawnBlock, block_rows, network_drawing
from nascli.report.provenance import agreement_text, budget_rows, provenance_rows, quality_rows
from nascli.report.run_summary import RunSummary
from nascli.report.story import Story
from nascli.units import format_count, format_seconds

# Names of baselines for people.
_BASELINES = {"random": "random feasible", "largest": "largest feasible"}


def render_run(
    run: RunSummary,
    evaluated: Sequence[PlottedEvaluation],
    blocks: Sequence[DrawnBlock],
    stories: Sequence[Story] = (),
    *,
    rest: float = 0.0,
    failed: int = 0,
    unused: str = "",
) -> str:
    """Return the page of a run.

    Args:
        run: The run.
        evaluated: The evaluations that gave a score, in order.
        blocks: The blocks of the winner.
        stories: Pictures of how the search went.
        rest: Seconds of the winner's predicted latency that belong to no block.
        failed: The number of evaluations that gave no score.
        unused: Why the winner leaves a part of its budget; empty where it fills the budget.

    Returns:
        HTML that loads nothing from elsewhere; all text from outside is escaped.
    """
    latency = run.latency
    where = ""
    if run.measured is not None:
        setup = run.measured.setup
        where = f", on {setup['device']} with {setup['runtime']} {setup['runtime_version']}"
    return page_of(
        "page",
        headline=_headline(run),
        subline=f"{run.space} on {run.data}, searched with {run.algorithm}{where}",
        facts=_facts(run),
        unmeasured=_unmeasured_text(run),
        budgets=budget_rows(run),
        unused=unused,
        timed=latency is not None,
        cost=bounded_figure(run).name,
        front=picture(front_chart(run, evaluated)),
        agreement=None if latency is None else picture(agreement_chart(run, latency)),
        agreement_text=None if latency is None else agreement_text(run, latency),
        warning=run.warning,
        reasons=[] if latency is None else quality_rows(latency),
        convergence=picture(convergence_chart(evaluated)),
        failed=failed,
        stories=[{"title": s.title, "text": s.text, "svg": picture(s.svg)} for s in stories],
        contenders=_network_rows(run),
        measured=run.measured is not None,
        drawing=picture(network_drawing(blocks)),
        blocks=block_rows(blocks, rest),
        provenance=provenance_rows(run),
    )


def _unmeasured_text(run: RunSummary) -> str:
    """Return what to say of a run that measured nothing; empty for another one."""
    if run.measured is not None:
        return ""
    text = "Nothing was measured: what the budgets bound is counted, and exact."
    if run.export_max_difference is None:
        return text
    return (
        f"{text} Measure model.onnx, beside this page, on the device where it will run, to learn its latency."
    )


def _headline(run: RunSummary) -> str:
    """Return the answer: what was found for which budget."""
    top1 = f"{run.winner.top1:.2%} top-1"
    if run.latency is None:
        figures = ", ".join(
            f"{format_count(budget.value)} {budget.cost}"
            for budget in run.budgets
            if budget.value is not None
        )
        timed = "" if run.measured is None else f", {format_seconds(run.measured.measured)} measured"
        return f"{figures} for {run.budget_text}: {top1}{timed}"
    measured = format_seconds(run.latency.measured)
    if any(budget.is_time and budget.is_here for budget in run.budgets):
        return f"{measured} measured for {run.budget_text}: {top1}"
    return f"{format_count(run.winner.macs)} MACs for {run.budget_text}: {top1}, {measured} measured"


def _facts(run: RunSummary) -> list[dict[str, str]]:
    """Return the figures below the headline, each with its name."""
    facts = []
    if run.measured is not None:
        low, high = run.measured.interval
        facts.append(
            (
                format_seconds(run.measured.measured),
                f"measured end to end, batch {run.measured.setup['batch']} "
                f"[{format_seconds(low)}, {format_seconds(high)}]",
            )
        )
    low, high = run.winner.top1_interval
    facts += [
        (f"{run.winner.top1:.2%}", f"test top-1 [{low:.1%}, {high:.1%}]"),
        (format_count(run.winner.macs), "MACs per image"),
        (format_count(run.winner.params), "parameters"),
        (str(run.evaluations), "architectures evaluated"),
    ]
    return [{"value": value, "name": name} for value, name in facts]


def _network_rows(run: RunSummary) -> list[dict[str, str]]:
    """Return a row for each network that was trained at the end, the winner first."""
    first_cost = run.budgets[0].cost
    networks = {"winner": run.winner}
    networks |= {_BASELINES.get(name, name): network for name, network in run.baselines.items()}
    return [
        {
            "name": name,
            "top1": f"{network.top1:.2%}",
            "low": f"{network.top1_interval[0]:.1%}",
            "high": f"{network.top1_interval[1]:.1%}",
            "measured": "-" if network.measured is None else format_seconds(network.measured),
            "predicted": "-" if network.predicted is None else format_seconds(network.predicted),
            "bounded": format_count(network.costs[first_cost]) if first_cost in network.costs else "-",
            "macs": format_count(network.macs),
            "params": format_count(network.params),
        }
        for name, network in networks.items()
    ]
