import threading
import time

import pytest
import torch

from nascli.errors import CheckpointError
from nascli.supernet.training import checkpoint_writer
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.checkpoint_writer import CheckpointWriter, snapshot

CPU = torch.device("cpu")


@pytest.fixture
def slow(monkeypatch):
    """Writing takes until it is let go."""
    gate = threading.Event()
    save = checkpoint_writer.save_checkpoint

    def held(*args):
        assert gate.wait(30)
        save(*args)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", held)
    return gate


def test_a_snapshot_shares_no_memory():
    a = torch.ones(2, 3).to(memory_format=torch.contiguous_format)
    copies = snapshot({"a": a, "view": a[0], "t": a.t()}, CPU)
    a.zero_()
    assert all(float(copy.min()) == 1 and copy.is_contiguous() for copy in copies.values())


def test_the_training_may_go_on_while_a_checkpoint_is_written(tmp_path, slow):
    writer = CheckpointWriter(tmp_path / "f", 1000.0)
    assert not writer.is_due()
    weights = torch.ones(3)
    writer.write({"w": weights}, {"step": 1}, CPU)
    weights.zero_()
    # While one is written, no other is due.
    assert not writer.is_due()
    slow.set()
    writer.wait()
    tensors, state = load_checkpoint(tmp_path / "f")
    assert torch.equal(tensors["w"], torch.ones(3)) and state == {"step": 1}


def test_checkpoints_are_as_far_apart_as_their_cost_allows(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(checkpoint_writer.time, "monotonic", lambda: clock[0])

    def save(*args):
        clock[0] += 2.0

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save)
    writer = CheckpointWriter(tmp_path / "f", 5.0)
    due = []
    for second in range(220):
        clock[0] = float(second)
        if writer.is_due():
            due.append(second)
            writer.write({}, {}, CPU)
            writer.wait()
    # The first after 5 seconds; each takes 2 seconds, 2 % of 100.
    assert due == [6, 107, 208]


def test_a_checkpoint_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    writer = CheckpointWriter(tmp_path / "file" / "f", 1000.0)
    writer.write({"w": torch.ones(1)}, {}, CPU)
    with pytest.raises(CheckpointError, match="cannot write"):
        writer.wait()
    writer.write({"w": torch.ones(1)}, {}, CPU)
    until = time.monotonic() + 30
    with pytest.raises(CheckpointError, match="cannot write"):
        while time.monotonic() < until:
            writer.is_due()
    # It is told once.
    writer.wait()


def test_without_a_shortest_time_every_step_has_one_at_once(tmp_path):
    writer = CheckpointWriter(tmp_path / "f", 0.0)
    for step in range(3):
        time.sleep(0.001)
        assert writer.is_due()
        writer.write({}, {"step": step}, CPU)
        assert load_checkpoint(tmp_path / "f")[1] == {"step": step}
