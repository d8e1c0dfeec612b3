"""Several processes train as one; a rank that is killed in mid-training costs time and nothing else."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from preloaded import SERVER
from ranks import TRAIN, agent, free_port, talk, train_a_little
from safetensors.numpy import load_file
from torch import nn

from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.synchronised_norm import SynchronisedBatchNorm, synchronise_batch_norm


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
    assert distributed.on_first(lambda: (1, 2)) == (1, 2) and distributed.on_all(lambda: 3) == [3]
    assert distributed.compute_shares([1, 2, 3], lambda items: [2 * item for item in items]) == [2, 4, 6]
    assert distributed.loss_weight(5) == 1
    x = torch.randn(4, 3, 2, 2)
    plain, synchronised = nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm2d(3))
    assert synchronise_batch_norm(synchronised) == [synchronised[0]]
    assert isinstance(synchronised[0], SynchronisedBatchNorm)
    assert torch.equal(plain(x), synchronised(x))
    plain.weight.grad = torch.ones(3)
    distributed.average_gradients([plain.weight])
    assert torch.equal(plain.weight.grad, torch.ones(3))


def test_what_two_processes_tell_each_other(tmp_path):
    port = free_port()
    ranks = [SERVER.Process(target=talk, args=(tmp_path, rank, 2, port)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(60)
        assert rank.exitcode == 0
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    own = {
        "together",
        "weights",
        "domain error",
        "own constructor",
        "bug",
        "one of all",
        "locked",
        "other settings",
    }
    assert {k: v for k, v in first.items() if k not in own} == {
        k: v for k, v in second.items() if k not in own
    }
    assert first["first"] == {"rank": 0, "pair": [1, 2.5]} and first["all"] == [0, 1]
    assert (first["together"], second["together"]) == (0, 1)
    assert first["shares"] == [10, 20, 30] and first["few"] == [10]
    # The same error everywhere; the others know whose it is.
    assert first["domain error"] == ["InfeasibleError", "too small.\nWiden it.", None]
    assert second["domain error"] == ["InfeasibleError", "too small.\nWiden it.", 0]
    assert second["own constructor"][0] == "UnknownNameError" and "Known: y" in second["own constructor"][1]
    assert first["bug"] == ["ValueError", "wrong", None]
    assert second["bug"] == ["ProcessGroupError", "process 0 failed: ValueError: wrong", 0]
    assert first["one of all"] == ["NascliError", "not here.", 1]
    assert second["one of all"] == ["NascliError", "not here.", None]
    assert "process 0 on" in first["different"][1] and "has digest 1" in first["different"][1]
    assert first["same"] is None
    assert first["weights"] == [1.0, 1.2] and second["weights"] == [1.0, 0.8]
    assert first["few rows"][0] == "ProcessGroupError"
    assert first["threads"] == max(1, os.cpu_count() // 2)
    assert first["gradients"] == [[1.5] * 3, [[1.5] * 2] * 2] and first["buffers"] == [0.0]
    assert first["nothing"] is None and first["read"] == {"by": 0} and first["state"] == [1]
    assert first["journal 0"] == [] and first["added 1"] == [[0, 2], [1, 2]]
    assert len((tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()) == 2
    assert "another process is working" in first["locked"][1] and second["locked"][:2] == first["locked"][:2]
    assert "a was 1 and is now 2" in second["other settings"][1]
