"""The report of a search: one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nascli.report.html import page_of, picture
from nascli.report.story import Story
from nascli.report.svg import Axis, Series, chart, pareto_front
from nascli.units import format_count, format_seconds


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: predicted latency in seconds, supernet top-1, and the codes for its tooltip."""

    predicted: float
    top1: float
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """One block of the winner: what it is and what it costs."""

    name: str
    operator: str
    output: str
    seconds: float
    macs: int
    skipped: bool


def _ms(value: float) -> str:
    return f"{value * 1e3:g}"


def _percent(value: float) -> str:
    return f"{value * 100:.3g}"


def _budget_text(result: dict[str, Any]) -> str:
    return " and ".join(result["constraints"])


def _headline(result: dict[str, Any]) -> str:
    """The answer: what was found for which budget."""
    top1 = f"{result['retrained_top1']:.2%} top-1"
    measured = format_seconds(result["measured_latency_s"])
    if any(b["cost"] == "latency" for b in result["budget"]):
        return f"{measured} measured for {_budget_text(result)}: {top1}"
    return f"{format_count(result['macs'])} MACs for {_budget_text(result)}: {top1}, {measured} measured"


def _belief(result: dict[str, Any]) -> str:
    """How far the model was off on the networks that were measured whole."""
    rows = [*result["finalists"], *result["baselines"].values()]
    errors = [
        abs(row["predicted_latency_s"] / row["measured_latency_s"] - 1)
        for row in rows
        if row["measured_latency_s"] > 0
    ]
    low, high = result["measured_interval_s"]
    width = (high - low) / 2 / result["measured_latency_s"]
    return (
        f"Over {len(errors)} whole networks the model was off by {sum(errors) / len(errors):.1%} on average, "
        f"{max(errors):.1%} at most; the winner's own measurement is known to ±{width:.1%}."
    )


def _bound(result: dict[str, Any]) -> float | None:
    here = [b for b in result["budget"] if b["cost"] == "latency" and b["high"] is not None]
    # The first device named is the one measured on; a bound elsewhere has an axis of its own.
    bounds = [b["high"] for b in here if b.get("device") == here[0].get("device")]
    return min(bounds, default=None)


def front_chart(result: dict[str, Any], evaluated: Sequence[Evaluated]) -> str:
    """Accuracy against predicted latency, with the Pareto front and the winner."""
    tips = [
        (e.predicted, e.top1, f"{list(e.codes)}: {format_seconds(e.predicted)}, {e.top1:.2%}")
        for e in evaluated
    ]
    front = [(x, y, "") for x, y in pareto_front([(e.predicted, e.top1) for e in evaluated])]
    predicted = result["predicted_latency_s"]["value"]
    winner = (predicted, result["supernet_top1"], f"winner: {format_seconds(predicted)}")
    bound = _bound(result)
    return chart(
        "accuracy against latency",
        Axis("predicted latency per batch, ms", _ms),
        Axis("top-1 with inherited weights, %", _percent),
        [Series(tips, "dot"), Series(front, "front", line=True), Series([winner], "best", radius=7)],
        [] if bound is None else [(bound, f"budget {format_seconds(bound)}")],
    )


def agreement_chart(result: dict[str, Any]) -> str:
    """Predicted against measured latency of everything that was measured whole."""

    def point(row: dict[str, Any], name: str) -> tuple[float, float, str]:
        x, y = row["predicted_latency_s"], row["measured_latency_s"]
        return x, y, f"{name}: predicted {format_seconds(x)}, measured {format_seconds(y)}"

    finalists = [point(row, "finalist") for row in result["finalists"]]
    baselines = [point(row, name) for name, row in result["baselines"].items()]
    predicted, measured = result["predicted_latency_s"]["value"], result["measured_latency_s"]
    winner = (predicted, measured, f"winner: predicted {format_seconds(predicted)}")
    values = [v for x, y, _ in [*finalists, *baselines, winner] for v in (x, y)]
    diagonal = [(min(values), min(values), ""), (max(values), max(values), "")]
    return chart(
        "predicted against measured latency",
        Axis("predicted, ms", _ms),
        Axis("measured, ms", _ms),
        [
            Series(diagonal, "guide", line=True),
            Series(finalists, "meas", radius=5),
            Series(baselines, "base", radius=5),
            Series([winner], "best", radius=7),
        ],
    )


def convergence_chart(evaluated: Sequence[Evaluated]) -> str:
    """Accuracy of each evaluation in order, and the best so far."""
    dots = [(i, e.top1, f"{i}: {e.top1:.2%}") for i, e in enumerate(evaluated, 1)]
    best, line = 0.0, []
    for i, e in enumerate(evaluated, 1):
        best = max(best, e.top1)
        line.append((float(i), best, ""))
    return chart(
        "convergence of the search",
        Axis("evaluations", lambda v: f"{v:g}"),
        Axis("top-1 with inherited weights, %", _percent),
        [Series(dots, "dot"), Series(line, "line", line=True)],
    )


def trained_networks(result: dict[str, Any]) -> list[dict[str, str]]:
    """The networks that were trained at the end, the winner first, in the words that people read."""
    winner = {
        "top1": result["retrained_top1"],
        "top1_interval": result["retrained_top1_interval"],
        "measured_latency_s": result["measured_latency_s"],
        "predicted_latency_s": result["predicted_latency_s"]["value"],
        "macs": result["macs"],
        "params": result["params"],
    }
    names = {"random": "random feasible", "largest": "largest feasible"}
    rows = [("winner", winner), *((names.get(k, k), v) for k, v in result["baselines"].items())]
    return [
        {
            "name": name,
            "top1": f"{row['top1']:.2%}",
            "low": f"{row['top1_interval'][0]:.1%}",
            "high": f"{row['top1_interval'][1]:.1%}",
            "measured": format_seconds(row["measured_latency_s"]),
            "predicted": format_seconds(row["predicted_latency_s"]),
            "macs": format_count(row["macs"]),
            "params": format_count(row["params"]),
        }
        for name, row in rows
    ]


def _facts(result: dict[str, Any]) -> list[dict[str, str]]:
    low, high = result["measured_interval_s"]
    first, last = result["retrained_top1_interval"]
    return [
        {
            "value": format_seconds(result["measured_latency_s"]),
            "name": f"measured end to end, batch {result['predicted_latency_s']['setup']['batch']} "
            f"[{format_seconds(low)}, {format_seconds(high)}]",
        },
        {"value": f"{result['retrained_top1']:.2%}", "name": f"test top-1 [{first:.1%}, {last:.1%}]"},
        {"value": format_count(result["macs"]), "name": "MACs per image"},
        {"value": format_count(result["params"]), "name": "parameters"},
        {"value": str(result["evaluations"]), "name": "architectures evaluated"},
    ]


def _provenance(result: dict[str, Any]) -> list[tuple[str, str]]:
    setup = result["predicted_latency_s"]["setup"]
    versions = ", ".join(f"{k} {v}" for k, v in result["versions"].items())
    return [
        ("setup", ", ".join(f"{k} {v}" for k, v in setup.items())),
        ("cost model", f"{result['predicted_latency_s']['model']} ({result['predicted_latency_s']['kind']})"),
        ("table", result["table_digest"]),
        ("space", f"{result['space']}, {int(result['space_size']):,} architectures"),
        ("data", result["data"]),
        ("supernet", result["supernet"]),
        ("codes", str(result["codes"])),
        ("seed", str(result["seed"])),
        ("largest difference of logits, ONNX against torch", f"{result['export_max_difference']:.2g}"),
        ("versions", versions),
    ]


def rounds_chart(rounds: Sequence[dict[str, Any]]) -> str:
    """NSE: each round's Pareto front (Fig. 5), the last one marked."""
    series = []
    for number, one in enumerate(rounds, 1):
        last = number == len(rounds)
        points = [(p["cost"], p["accuracy"], f"round {number}: {p['accuracy']:.2%}") for p in one["front"]]
        series.append(Series(points, "best" if last else "dot", radius=6 if last else 4))
        if len(points) > 1:
            series.append(Series(points, "front" if last else "guide", line=True))
    return chart(
        "Pareto fronts by round",
        # Seconds lie below 1, counts far above.
        Axis("cost", lambda v: format_seconds(v) if abs(v) < 1 else format_count(v)),
        Axis("top-1 in the round's supernet, %", _percent),
        series,
    )


def trajectories_chart(rounds: Sequence[dict[str, Any]], threshold: float) -> str | None:
    """NSE: every indicator epoch by epoch, round after round; those that lived on are marked."""
    series, marks, begun = [], [], 0
    for number, one in enumerate(rounds, 1):
        moments = one["trained"].get("trajectory") or []
        if not moments:
            return None
        for layer, chosen in enumerate(one["subset"]):
            for position, index in enumerate(chosen):
                points = [
                    (float(begun + t), moment[layer][position], "") for t, moment in enumerate(moments, 1)
                ]
                lives = index in one["aggregated"][layer]
                series.append(Series(points, "keep" if lives else "gone", line=True))
        if number > 1:
            marks.append((begun + 0.5, f"round {number}"))
        begun += len(moments)
    series.sort(key=lambda one: one.style == "keep")
    limit = [(1.0, threshold, ""), (float(begun), threshold, "")]
    return chart(
        "fitness indicators by epoch",
        Axis("epoch", lambda v: f"{v:g}"),
        Axis("fitness indicator", lambda v: f"{v:.2g}", (threshold,)),
        [*series, Series(limit, "guide", line=True)],
        marks,
    )


def render(
    result: dict[str, Any],
    evaluated: Sequence[Evaluated],
    blocks: Sequence[Block],
    stories: Sequence[Story] = (),
) -> str:
    """The whole page.

    Args:
        result: the document of result.json.
        evaluated: all evaluations in order.
        blocks: the winner's blocks.
        stories: further pictures of how the search went.

    Returns:
        HTML that loads nothing from elsewhere; all text from outside is escaped.
    """
    longest = max(block.seconds for block in blocks)
    setup = result["predicted_latency_s"]["setup"]
    return page_of(
        "page",
        headline=_headline(result),
        subline=f"{result['space']} on {result['data']}, searched with {result['algorithm']}, "
        f"on {setup['device']} with {setup['runtime']} {setup['runtime_version']}",
        facts=_facts(result),
        front=picture(front_chart(result, evaluated)),
        agreement=picture(agreement_chart(result)),
        belief=_belief(result),
        convergence=picture(convergence_chart(evaluated)),
        stories=[{"title": s.title, "text": s.text, "svg": picture(s.svg)} for s in stories],
        contenders=trained_networks(result),
        blocks=[
            {
                "name": block.name,
                "operator": block.operator,
                "output": block.output,
                "latency": "-" if block.skipped else format_seconds(block.seconds),
                "macs": "-" if block.skipped else format_count(block.macs),
                "width": f"{100 * block.seconds / longest:.1f}",
                "skipped": block.skipped,
            }
            for block in blocks
        ],
        provenance=_provenance(result),
    )
