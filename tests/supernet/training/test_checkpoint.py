import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from trainings import RECIPE

from nascli.errors import CheckpointError
from nascli.supernet.modules import load_module
from nascli.supernet.training.checkpoint import (
    is_trained,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    settings_digest,
)


@pytest.fixture
def file(tmp_path):
    """A checkpoint of a linear layer, in mid-training."""
    tensors = {f"module/{name}": tensor for name, tensor in nn.Linear(3, 2).state_dict().items()}
    save_checkpoint(tmp_path / "f", tensors, {"identity": "x", "step": 1, "steps": 2})
    return tmp_path / "f"


def test_what_is_saved_is_loaded(file):
    tensors, state = load_checkpoint(file)
    assert state == {"identity": "x", "step": 1, "steps": 2}
    module = nn.Linear(3, 2)
    load_module(module, tensors)
    assert torch.equal(module.weight, tensors["module/weight"])
    # What a computation returned has a graph and need not be contiguous.
    grown = (torch.ones(2, 3, requires_grad=True) * 2).T
    save_checkpoint(file, {"a": grown}, {})
    assert torch.equal(load_checkpoint(file)[0]["a"], torch.full((3, 2), 2.0))


def test_damaged_checkpoints_and_those_of_others_are_refused(file, tmp_path):
    data = file.read_bytes()
    (tmp_path / "g").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path / "g")
    (tmp_path / "h").write_bytes(b"")
    with pytest.raises(CheckpointError):
        load_checkpoint(tmp_path / "h")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="does not fit"):
        load_module(nn.Linear(2, 2), load_checkpoint(file)[0])
    save_weights(nn.Linear(2, 2), tmp_path / "weights")
    with pytest.raises(CheckpointError, match="not a checkpoint of this version"):
        load_checkpoint(tmp_path / "weights")
    blocker = file / "sub"
    with pytest.raises(CheckpointError, match="cannot write"):
        save_checkpoint(blocker, {}, {})


def test_a_training_is_done_when_its_last_step_is(file, tmp_path):
    assert not is_trained(file, "x") and not is_trained(tmp_path / "nowhere", "x")
    save_checkpoint(file, {}, {"identity": "x", "step": 2, "steps": 2})
    assert is_trained(file, "x") and not is_trained(file, "y")


def test_digests_of_settings_stay():
    """Checkpoints are found by them: a new field of a recipe would make every old one another's."""
    # What were the defaults when the digest was taken.
    old = dataclasses.replace(RECIPE, shift=2, clip=5.0)
    assert settings_digest("a", old, 1) == "745b5285d2c496fd1a8bca8608d1b7a1"
    assert settings_digest("a", RECIPE, 1) != settings_digest("a", RECIPE, 2)


def test_weights_are_written_by_name(tmp_path):
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).to(memory_format=torch.channels_last)
    save_weights(module, tmp_path / "w")
    weights = load_file(tmp_path / "w")
    assert weights.keys() == module.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in module.state_dict().items())
