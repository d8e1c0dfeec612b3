"""torchrun with elastic restart: a rank that is killed in mid-training costs time and nothing else."""

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
from safetensors.numpy import load_file

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
