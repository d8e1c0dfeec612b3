"""The pictures of an NSE run: rounds, fronts, and fitness indicators."""

from __future__ import annotations

from collections.abc import Sequence

from nascli.report.charts import percent
from nascli.report.story import GridCell, OperatorGrid, Story
from nascli.report.svg import ChartAxis, Series, chart
from nascli.search.algorithm import SearchRecord
from nascli.search.nse.rounds import Round
from nascli.search.nse.settings import NseSettings
from nascli.spaces.space import Space
from nascli.units import format_count, format_seconds


def nse_stories(record: SearchRecord) -> list[Story]:
    """Return all pictures of a run: where operations live, the fronts, the fitness indicators, and each round."""
    space = record.space
    rounds = [Round.from_json(document) for document in record.story["rounds"]]
    stories = [
        rounds_story(space, rounds, record.winner),
        Story(
            "Pareto fronts by round",
            "Accuracy in each round's own supernet; the last round is marked.",
            fronts_chart(rounds),
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


def fronts_chart(rounds: Sequence[Round]) -> str:
    """Draw the Pareto front of each round, the last one marked (Fig. 5)."""
    series = []
    for number, each in enumerate(rounds, 1):
        last = number == len(rounds)
        points = [
            (point.cost, point.accuracy, f"round {number}: {point.accuracy:.2%}") for point in each.front
        ]
        series.append(Series(points, "best" if last else "dot", radius=6 if last else 4))
        if len(points) > 1:
            series.append(Series(points, "front" if last else "guide", line=True))
    return chart(
        "Pareto fronts by round",
        # Seconds are below 1, counts far above.
        ChartAxis("cost", lambda value: format_seconds(value) if abs(value) < 1 else format_count(value)),
        ChartAxis("top-1 in the round's supernet, %", percent),
        series,
    )


def trajectories_chart(rounds: Sequence[Round], threshold: float) -> str | None:
    """Draw every fitness indicator epoch by epoch, round after round; those of the round's front are marked.

    Args:
        rounds: The rounds.
        threshold: The indicator below which an operation is dropped.

    Returns:
        An ``<svg>`` element; None where a round recorded no trajectory.
    """
    series, marks, epochs = [], [], 0
    for number, each in enumerate(rounds, 1):
        trajectory = each.trained.trajectory
        if not trajectory:
            return None
        for layer, operations in enumerate(each.subset):
            for position, index in enumerate(operations):
                points = [
                    (float(epochs + epoch), thetas[layer][position], "")
                    for epoch, thetas in enumerate(trajectory, 1)
                ]
                on_front = index in each.aggregated[layer]
                series.append(Series(points, "keep" if on_front else "gone", line=True))
        if number > 1:
            marks.append((epochs + 0.5, f"round {number}"))
        epochs += len(trajectory)
    # Marked lines are drawn last, above the others.
    series.sort(key=lambda line: line.style == "keep")
    limit = [(1.0, threshold, ""), (float(epochs), threshold, "")]
    return chart(
        "fitness indicators by epoch",
        ChartAxis("epoch", lambda value: f"{value:g}"),
        ChartAxis("fitness indicator", lambda value: f"{value:.2g}", (threshold,)),
        [*series, Series(limit, "guide", line=True)],
        marks,
    )


def rounds_story(space: Space, rounds: Sequence[Round], winner: Sequence[int]) -> Story:
    """Draw in which round each operation entered, and how long it stayed on fronts (Fig. 10).

    Args:
        space: The space that was searched.
        rounds: The rounds.
        winner: The choices of the winner, which are marked.
    """
    grid = OperatorGrid(space)
    for number, layer in enumerate(space.layers):
        for index, candidate in enumerate(layer.candidates):
            entered = next((r for r, each in enumerate(rounds, 1) if index in each.subset[number]), None)
            on_front = [r for r, each in enumerate(rounds, 1) if index in each.aggregated[number]]
            if entered is None:
                share, fate = 0.0, "never drawn"
            else:
                share = 0.12 + 0.88 * len(on_front) / max(1, len(rounds) - entered + 1)
                fate = f"on fronts until round {on_front[-1]}" if on_front else "never on a front"
                fate = f"drawn in round {entered}, {fate}"
            won = bool(winner[number] >> index & 1)
            grid.put(number, index, GridCell(share, won, f"{layer.name}, {candidate.short}: {fate}"))
    text = (
        f"{len(rounds)} rounds. The darker, the more rounds an operation stayed on the Pareto front since it was "
        "drawn; the winner's are marked."
    )
    return Story("Which operations live where", text, grid.draw())


def round_story(space: Space, each: Round, number: int) -> Story:
    """Draw the operations of one round, what simplification left of them, and what is on its front (Fig. 10).

    Args:
        space: The space that was searched.
        each: The round.
        number: Its number, from 1.
    """
    grid = OperatorGrid(space)
    for position, layer in enumerate(space.layers):
        for index, alive in zip(each.subset[position], each.trained.alive[position], strict=True):
            if index in each.aggregated[position]:
                share, state = 1.0, "on the front"
            elif alive:
                share, state = 0.4, "left by simplification"
            else:
                share, state = 0.0, "dropped"
            if index in each.inherited[position]:
                state += ", inherited"
            tip = f"{layer.name}, {layer.candidates[index].short}: {state}"
            grid.put(position, index, GridCell(share, False, tip))
    text = "The round's operations: dark ones are on its front, pale ones were left by simplification, palest dropped."
    return Story(f"Round {number}", text, grid.draw())
