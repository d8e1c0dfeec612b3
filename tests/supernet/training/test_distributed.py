"""Several processes train as one; a rank that is killed in mid-training costs time and nothing else."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import nn

from nascli.supernet.training import distributed
from nascli.supernet.training.checkpoint import load_checkpoint

SPACE = "proxyless-mini:resolution=8,width=0.25,depth=1"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def torchrun(out, *more):
    """A group of two; whatever happens, nothing of it is left running."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3",
            "--master-port", str(free_port()), "-m", "nascli", "supernet", "train", "--space", SPACE, "--epochs", "28",
            "--out", str(out), *more,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "NASCLI_HOME": str(out.parent / "home")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        # The agent ends its ranks when it is told to stop.
        process.terminate()
        process.communicate(timeout=60)


def ranks(parent):
    """Process ids of the ranks below a torchrun."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"nascli" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def weights(path):
    return {name: value for name, value in load_file(path).items() if name.startswith("module/")}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_killed_rank_goes_on_from_the_last_checkpoint(tmp_path):
    calm = tmp_path / "calm" / "s.safetensors"
    with torchrun(calm) as process:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-1500:]

    hurt = tmp_path / "hurt" / "s.safetensors"
    with torchrun(hurt) as process:
        deadline = time.monotonic() + 120
        while not hurt.exists():
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        victims = ranks(process.pid)
        assert len(victims) == 2
        os.kill(victims[1], signal.SIGKILL)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-1500:]
    # Both ranks began twice.
    assert output.count("0/") + output.count("training the supernet") >= 4
    first, second = weights(calm), weights(hurt)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert np.array_equal(value, second[name]), name


def test_two_processes_train_as_one(tmp_path):
    """gloo on the CPU: the same weights as one process with the whole batch, up to rounding."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, torch, numpy as np\n"
        "from nascli.progress import Silent\n"
        "from nascli.spaces import make_space\n"
        "from nascli.supernet.data.images import load_images\n"
        "from nascli.supernet.separate import Supernet\n"
        "from nascli.supernet.training import distributed\n"
        "from nascli.supernet.training.recipe import Recipe\n"
        "from nascli.supernet.training.trainer import Trainer\n"
        "distributed.join_process_group()\n"
        "space = make_space('proxyless-mini', resolution=8, width=0.25, depth=1)\n"
        "torch.manual_seed(0); torch.set_num_threads(1)\n"
        "net = distributed.synchronise_batch_norm(Supernet(space))\n"
        "path = lambda s: space.sample(1, np.random.default_rng([7, s]))[0].tolist()\n"
        "t = Trainer(net, load_images('digits', 8).train, Recipe(epochs=1, batch=64), seed=3, path_of_step=path)\n"
        "t.run(None, 'x', Silent(), 't', until=4)\n"
        "t.save(__import__('pathlib').Path(sys.argv[1]), 'x')\n"
    )
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, str(script), str(one)], check=True, timeout=120)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29511"]
    subprocess.run([*command, str(script), str(two)], check=True, timeout=240, capture_output=True)
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
