"""What a second space of NSE inherits from a run in the first: operations and its last front."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nascli.costmodel import ChainCost
from nascli.errors import ConstraintError
from nascli.files import read_json, reading
from nascli.search.nse.rounds import EvaluatedPoint, Subset, narrow_choices, round_from_json
from nascli.search.run_folder import RESULT, SETTINGS, STORY
from nascli.spaces.builtin.branches import format_inherited, parse_inherited
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.space import Space

# Spaces whose last operations nse-second inherits.
FIRST_SPACES = ("nse-27", "nse-27-mini")
# The authors stop in the second space after three rounds, before its many operations are traversed.
SECOND_ROUNDS = 3


def second_space(space: Space, run: Path) -> Space:
    """A second space with the operations that the last round of a run in the first space handed on.

    Args:
        space: The second one, such as nse-second.
        run: The first run's folder.

    Raises:
        ConstraintError: The space inherits nothing, or the run is not NSE's, finished, in the first space.
    """
    if not takes_parameter(space.name, "inherited"):
        raise ConstraintError(
            f"{space.name} inherits nothing.", "Choose --space nse-second or nse-second-mini"
        )
    story = run / STORY
    rounds = (read_json(story) or {}).get("rounds")
    if not rounds or read_json(run / RESULT) is None:
        raise ConstraintError(f"{run} is no finished search by NSE.", "Name the run's folder.")
    first = str((read_json(run / SETTINGS) or {}).get("space", "")).partition(":")[0]
    if first not in FIRST_SPACES:
        raise ConstraintError(
            f"{run} searched {first or 'an unknown space'}; {space.name} continues {' or '.join(FIRST_SPACES)}.",
            "Name a run in one of these.",
        )
    with reading(story):
        text = format_inherited(rounds[-1]["aggregated"])
    return make_space(space.name, **{**dict(space.parameters), "inherited": text})


def inherited_operations(space: Space) -> Subset | None:
    """What a second space takes over from the first: the operations in front of its own."""
    text = str(dict(space.parameters).get("inherited", ""))
    return tuple(tuple(range(len(layer))) for layer in parse_inherited(text)) or None


def former_front(run: Path, cost: ChainCost) -> list[EvaluatedPoint]:
    """The last front of a run in the first space, as architectures of the second one that inherits from it.

    Args:
        run: The first run's folder.
        cost: Of the second space, in which the points get their costs.

    Raises:
        RunError: The run's story is damaged.
    """
    story = run / STORY
    with reading(story):
        last = round_from_json((read_json(story) or {})["rounds"][-1])
    population = narrow_choices(
        np.array([point.codes for point in last.front], dtype=np.int64), last.aggregated
    )
    return [
        EvaluatedPoint(tuple(map(int, row)), float(value), point.accuracy, True)
        for row, value, point in zip(population, cost(population), last.front, strict=True)
    ]
