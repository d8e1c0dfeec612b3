"""Several processes train as one; a rank that is killed in mid-training costs time and nothing else."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from preloaded import SERVER
from ranks import TRAIN, agent, free_port, train_a_little
from safetensors.numpy import load_file
from torch import nn

from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint


def weights(path):
    return {name: value for name, value in load_file(path).items() if name.startswith("module/")}


@pytest.mark.slow
def test_a_killed_rank_goes_on_from_the_last_checkpoint(tmp_path):
    calm, hurt = (tmp_path / name / "s.safetensors" for name in ("calm", "hurt"))
    hurt.parent.mkdir()
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "0",
            "--master-port", str(free_port()), "-m", "nascli", *TRAIN, "--out", str(calm),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-1500:]
    group = SERVER.Process(target=agent, args=(hurt,))
    group.start()
    try:
        group.join(240)
        assert group.exitcode == 0
    finally:
        # The agent ends its ranks when it is told to stop.
        group.terminate()
    # Both ranks began twice.
    assert {p.name for p in hurt.parent.glob("*.[01].[01]")} == {
        f"s.safetensors.{attempt}.{rank}" for attempt in (0, 1) for rank in (0, 1)
    }
    first, second = weights(calm), weights(hurt)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name


def test_two_processes_train_as_one(tmp_path):
    """gloo on the CPU: the same weights as one process with the whole batch, up to rounding."""
    one, two = tmp_path / "one", tmp_path / "two"
    port = free_port()
    groups = [(one,)], [(two, rank, 2, port) for rank in range(2)]
    for group in groups:
        ranks = [SERVER.Process(target=train_a_little, args=args) for args in group]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(120)
            assert rank.exitcode == 0
    a, b = load_checkpoint(one)[0], load_checkpoint(two)[0]
    for name in a:
        if "num_batches" not in name:
            assert torch.allclose(a[name], b[name], atol=2e-4, rtol=1e-3), name


def test_alone_everything_is_plain():
    assert distributed.world_size() == 1 and distributed.is_first_process()
    assert distributed.rows_of_this_process(5) == slice(None)
    distributed.wait_for_all()
    x = torch.randn(4, 3, 2, 2)
    plain, synchronised = nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3))
    assert distributed.synchronise_batch_norm(synchronised) is synchronised
    assert isinstance(synchronised[0], distributed.SynchronisedBatchNorm)
    assert torch.equal(plain(x), synchronised(x))
    plain.weight.grad = torch.ones(3)
    distributed.average_gradients([plain.weight])
    assert torch.equal(plain.weight.grad, torch.ones(3))
