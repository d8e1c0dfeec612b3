"""Rounds, fronts, and fitness indicators of NSE, as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nascli.report.charts import percent
from nascli.report.story import Cell, Story, grid, operator_rows, row_of
from nascli.report.svg import ChartAxis, Series, chart
from nascli.search.algorithm import SearchRecord
from nascli.search.nse.settings import NseSettings
from nascli.spaces.space import Space
from nascli.units import format_count, format_seconds


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
        ChartAxis("cost", lambda v: format_seconds(v) if abs(v) < 1 else format_count(v)),
        ChartAxis("top-1 in the round's supernet, %", percent),
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
        ChartAxis("epoch", lambda v: f"{v:g}"),
        ChartAxis("fitness indicator", lambda v: f"{v:.2g}", (threshold,)),
        [*series, Series(limit, "guide", line=True)],
        marks,
    )


def rounds_story(space: Space, rounds: Sequence[dict[str, Any]], winner: Sequence[int]) -> Story:
    """NSE: the round in which each operation was traversed, and whether it lives on (Fig. 10)."""
    columns, rows = operator_rows(space)
    cells: dict[tuple[int, int], Cell] = {}
    for number, layer in enumerate(space.layers):
        for index in range(len(layer.candidates)):
            seen = [r for r, one in enumerate(rounds, 1) if index in one["subset"][number]]
            lives = [r for r, one in enumerate(rounds, 1) if index in one["aggregated"][number]]
            tip = f"{layer.name}, {layer.candidates[index].short}: "
            if not seen:
                tip += "never drawn"
            else:
                tip += f"drawn in round {seen[0]}, " + (
                    f"on fronts until round {lives[-1]}" if lives else "never on a front"
                )
            share = 0.0 if not seen else 0.12 + (0.88 * len(lives) / max(1, len(rounds) - seen[0] + 1))
            cells[number, row_of(layer, rows, index)] = Cell(share, bool(winner[number] >> index & 1), tip)
    text = (
        f"{len(rounds)} rounds. The darker, the more rounds an operation stayed on the Pareto front since it was "
        "drawn; the winner's are marked."
    )
    return Story("Which operations live where", text, grid(columns, rows, cells))


def round_story(space: Space, one: dict[str, Any], number: int) -> Story:
    """NSE: one round's subset, what simplification left of it, and what its front hands on (Fig. 10)."""
    columns, rows = operator_rows(space)
    cells: dict[tuple[int, int], Cell] = {}
    for place, layer in enumerate(space.layers):
        alive = dict(zip(one["subset"][place], one["trained"]["alive"][place], strict=True))
        for index, stays in alive.items():
            on_front = index in one["aggregated"][place]
            state = "on the front" if on_front else "left by simplification" if stays else "dropped"
            if index in one["inherited"][place]:
                state += ", inherited"
            tip = f"{layer.name}, {layer.candidates[index].short}: {state}"
            cells[place, row_of(layer, rows, index)] = Cell(
                1.0 if on_front else 0.4 if stays else 0.0, False, tip
            )
    text = "The round's operations: dark ones are on its front, pale ones were left by simplification, palest dropped."
    return Story(f"Round {number}", text, grid(columns, rows, cells))


def nse_stories(record: SearchRecord) -> list[Story]:
    """All pictures of a run: where operations live, the fronts, the fitness indicators, and each round."""
    rounds, space = record.story["rounds"], record.space
    stories = [
        rounds_story(space, rounds, record.winner),
        Story(
            "Pareto fronts by round",
            "Accuracy in each round's own supernet; the last round is marked.",
            rounds_chart(rounds),
        ),
    ]
    trajectories = trajectories_chart(rounds, record.settings.get("threshold", NseSettings().threshold))
    if trajectories:
        text = (
            "Each line is one operation of one layer. Blue ones are on the round's front; below the dashed line "
            "an operation is dropped."
        )
        stories.append(Story("Fitness indicators", text, trajectories))
    return stories + [round_story(space, each, number) for number, each in enumerate(rounds, 1)]
