import pytest
from commanding import TINY
from trainings import Killed

from nascli.errors import DataError, UnknownNameError
from nascli.pipeline.train.supernet import train_supernet
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.training.checkpoint import is_trained


def job(out, spec=TINY, progress=None, **changes):
    arguments = {"epochs": 1, "seed": 0, "preset": "small", **changes}
    return train_supernet(spec, "digits", out=out, progress=progress or Silent(), **arguments)


def test_a_supernet_is_trained_once_into_its_file(tmp_path):
    file = tmp_path / "s.safetensors"
    result = job(file)
    assert not result.reused and is_trained(file, result.identity)
    # The classes and channels of the digits are the space's own, and so not named.
    assert result.space == load_space(TINY).spec
    assert result.to_json() == {
        "space": result.space,
        "data": "digits",
        "identity": result.identity,
        "steps": 1077 // 32,
        "reused": False,
        "file": str(file),
    }
    # Nothing is trained again: the first step would interrupt it.
    again = job(file, progress=Killed(1))
    assert again.reused and again.identity == result.identity


def test_the_preset_of_the_paper_trains_for_the_paper_s_epochs(tmp_path):
    """120 epochs (section 4) of the one step that 1,078 images make at a batch of 1,024."""
    with pytest.raises(KeyboardInterrupt):
        job(tmp_path / "s", progress=Counted(), preset="paper", epochs=None)
    assert Counted.total == 120


class Counted(Silent):
    """A progress display that keeps the number of steps and stops the training."""

    total = 0

    def start(self, task, total):
        Counted.total = total
        raise KeyboardInterrupt


def test_what_does_not_go_together_is_refused_before_the_training(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown preset 'large'. .*small, paper"):
        job(tmp_path / "s", preset="large")
    with pytest.raises(DataError, match="the space takes"):
        job(tmp_path / "s", f"{TINY},classes=7")
    assert not (tmp_path / "s").exists()
