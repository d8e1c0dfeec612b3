"""Fixtures shared by all tests."""

import os
from pathlib import Path

# Several of these processes run side by side: each takes one core, or they wait for each other. Before torch is loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Some tests import ONNX Runtime themselves, which reports sessions to its maker unless it is told not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import pytest
from measuring import measure_quickly

from nascli.spaces import make_space


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """Every test has a home of its own: none touches the user's store."""
    home = tmp_path / "home"
    monkeypatch.setenv("NASCLI_HOME", str(home))
    return home


@pytest.fixture
def quick_measuring(monkeypatch):
    """Few and short bursts, for tests of what follows a measurement: their latencies need not be right."""
    measure_quickly(monkeypatch.setattr)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def tiny():
    """A space whose networks take well under a millisecond and train in seconds."""
    return make_space("proxyless-mini", resolution=8, width=0.25, depth=1)


def shared_data() -> Path | None:
    """The folder of real tables, if this machine has it."""
    given = os.environ.get("NASCLI_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture
def data_folder():
    folder = shared_data()
    if folder is None:
        pytest.skip("the folder of real tables is not here (NASCLI_DATA)")
    return folder
