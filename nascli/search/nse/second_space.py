"""What a second space of NSE inherits from a run in a first one: its operations and its last front."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nascli.costmodel import ChainCost
from nascli.errors import ConstraintError, Remedy
from nascli.files import read_json, reading
from nascli.search.nse.rounds import EvaluatedPoint, Round, Subset, narrow_choices
from nascli.search.run_folder import RESULT, SETTINGS, STORY
from nascli.spaces.builtin.branches import format_inherited, parse_inherited
from nascli.spaces.catalog import make_space, takes_parameter
from nascli.spaces.space import Space

# Spaces whose last operations a second space inherits.
FIRST_SPACES = ("nse-27", "nse-27-mini")
# The authors stop in the second space after three rounds, before every operation had its round.
SECOND_ROUNDS = 3


def second_space(space: Space, run: Path) -> Space:
    """Return a second space, extended by the operations that a run in a first space hands on.

    Args:
        space: The second space, such as nse-second.
        run: The folder of the run in the first space.

    Raises:
        ConstraintError: The space inherits nothing, or the run is not a finished search by NSE in a first space.
        RunError: The story of the run is damaged.
    """
    if not takes_parameter(space.name, "inherited"):
        raise ConstraintError(
            f"{space.name} inherits nothing.",
            "Choose nse-second or nse-second-mini.",
            Remedy(arguments={"space": "nse-second"}),
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
    """Return the operations of a second space that come from a first one: they precede its own. None without any."""
    text = str(dict(space.parameters).get("inherited", ""))
    return tuple(tuple(range(len(layer))) for layer in parse_inherited(text)) or None


def former_front(run: Path, cost: ChainCost) -> list[EvaluatedPoint]:
    """Return the last front of a run in a first space, as architectures of the second space that inherits from it.

    Args:
        run: The folder of the run in the first space.
        cost: A cost of the second space, which gives the points their costs.

    Raises:
        RunError: The story of the run is damaged.
    """
    story = run / STORY
    with reading(story):
        last = Round.from_json((read_json(story) or {})["rounds"][-1])
    population = narrow_choices(
        np.array([point.architecture for point in last.front], dtype=np.int64), last.aggregated
    )
    return [
        EvaluatedPoint(tuple(map(int, row)), float(value), point.accuracy, True)
        for row, value, point in zip(population, cost(population), last.front, strict=True)
    ]
