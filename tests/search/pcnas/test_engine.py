import numpy as np
import pytest

from nascli.errors import CheckpointError
from nascli.progress import Silent
from nascli.search.pcnas.engine import PcnasEngine
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.training.recipe import Recipe

SPACE = load_space("pcnas-small-mini:resolution=8,width=0.1")
POPULATION = SPACE.sample(6, np.random.default_rng(0))


class Killed(Silent):
    """Ends a training after some steps."""

    left = 20

    def advance(self, steps=1, note=""):
        self.left -= bool(note)
        if not self.left:
            raise KeyboardInterrupt


def engine(file, progress=None, seed=0):
    return PcnasEngine(
        SPACE, load_images("digits", 8), Recipe(1, 64), warmup=1, interval=1, stages=1, seed=seed, file=file,
        progress=progress or Silent(),
    )  # fmt: skip


def path(step):
    return SPACE.sample(1, np.random.default_rng(step))[0].tolist()


def test_architectures_are_evaluated_quickly_and_as_a_whole():
    one = engine(None)
    one.train(0, path)
    quick = one.quick_accuracies(POPULATION, np.random.default_rng(1))
    whole = one.accuracies(POPULATION, calibration=64)
    for accuracies in (quick, whole):
        assert accuracies.shape == (6,) and ((accuracies >= 0) & (accuracies <= 1)).all()
    assert np.array_equal(quick, one.quick_accuracies(POPULATION, np.random.default_rng(1)))


def test_a_stage_that_is_over_is_not_trained_again(tmp_path):
    engine(tmp_path / "a").train(0, path)

    def never(step):
        raise AssertionError("trained again")

    again = engine(tmp_path / "a")
    again.train(0, never)
    with pytest.raises(AssertionError, match="trained again"):
        again.train(1, never)
    with pytest.raises(CheckpointError):
        engine(tmp_path / "a", seed=1)


def test_a_killed_stage_goes_on_as_if_nothing_had_happened(tmp_path):
    def trained(one):
        for stage in (0, 1):
            one.train(stage, path)
        return one.accuracies(POPULATION)

    whole = trained(engine(tmp_path / "a"))
    with pytest.raises(KeyboardInterrupt):
        trained(engine(tmp_path / "b", Killed()))
    assert np.array_equal(trained(engine(tmp_path / "b")), whole)
