import numpy as np
import pytest

from nascli.costmodel import counted
from nascli.progress import Silent
from nascli.search.nse.engine import NseEngine
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.training.recipe import ArchitectureParameterSettings, Recipe

SPACE = load_space("nse-19-mini:resolution=8,width=0.1,branches=2").restricted(
    "part", [(0, 4, 9)] * len(load_space("nse-19-mini").layers)
)
COST = counted(SPACE, "macs")


class Killed(Silent):
    """Ends a training after some steps."""

    left = 30

    def advance(self, steps=1, note=""):
        self.left -= bool(note)
        if not self.left:
            raise KeyboardInterrupt


def engine(folder, progress, epochs=2):
    return NseEngine(
        load_images("digits", 8),
        Recipe(epochs, 64),
        ArchitectureParameterSettings(rate=0.2),
        target=COST.minimum,
        seed=0,
        folder=folder,
        progress=progress,
    )


def drop_second(thetas, alive):
    """Simplification that drops the second operation of every layer."""
    return [[row[0], False, *row[2:]] for row in alive]


def test_a_round_learns_indicators_and_drops_operations():
    one = engine(None, Silent())
    trained = one.train(0, SPACE, COST, drop_second)
    assert all(not alive[1] and alive[0] for alive in trained.alive)
    assert len(trained.trajectory) == 2 and trained.trajectory[-1] == trained.thetas
    assert max(np.ptp(row) for row in trained.thetas) > 0.1
    population = SPACE.sample(3, np.random.default_rng(0))
    accuracies = one.accuracies(0, SPACE, population)
    assert accuracies.shape == (3,) and ((accuracies >= 0) & (accuracies <= 1)).all()
    with pytest.raises(AssertionError, match="right after it was trained"):
        one.accuracies(1, SPACE, population)


def test_a_killed_round_goes_on_as_if_nothing_had_happened(tmp_path):
    whole = engine(tmp_path / "a", Silent()).train(1, SPACE, COST, drop_second)
    with pytest.raises(KeyboardInterrupt):
        engine(tmp_path / "b", Killed()).train(1, SPACE, COST, drop_second)
    assert engine(tmp_path / "b", Silent()).train(1, SPACE, COST, drop_second) == whole
