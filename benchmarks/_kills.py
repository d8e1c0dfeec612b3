"""Kills commands at random moments, and compares the result with that of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nascli.lut import Store

SPACE = "proxyless-mini:resolution=8,width=0.25,depth=1"
STAGED = "nss-expanded-mini:resolution=8,widths=16,depths=4"
CELLS = "autospace-mini:resolution=8,width=0.25"
BRANCHES = "nse-19-mini:resolution=8,width=0.25,branches=2"


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        name: for people.
        words: the command.
        seen: what must be the same in the end.
        longest: seconds after which it is killed at the latest.
        space: profiled beforehand, so that all runs see one table; None for none.
    """

    name: str
    words: tuple[str, ...]
    seen: Callable[[Path], object]
    longest: float
    space: str | None = SPACE


@dataclass
class Outcome:
    tried: int = 0
    equal: bool = False
    lost: int = 0
    doubled: int = 0
    tracebacks: int = 0


def command(words, home: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "nascli", *words],
        cwd=home, env={**os.environ, "NASCLI_HOME": str(home)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(words, home: Path) -> None:
    process = command(words, home)
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(f"{words}: {errors[-500:]}")


def samples(home: Path) -> dict:
    path = home / "store.sqlite"
    if not path.exists():
        return {}
    with Store(path) as store:
        assert store.integrity() == []
        return {
            (setup.label, key, sample.round): sample.seconds.tobytes()
            for setup, _, _ in store.setups()
            for key, rows in store.history(setup).items()
            for sample in rows
        }


def trial(job: Job, prepared: Path, scratch: Path, kills: int, seed: int) -> Outcome:
    """Kill a job so often, let it finish, and compare."""
    calm, home = scratch / "calm", scratch / "killed"
    for folder in (calm, home):
        shutil.copytree(prepared, folder)
    finished(job.words, calm)
    outcome, moments = Outcome(), random.Random(seed)
    before = samples(home)
    for _ in range(kills):
        process = command(job.words, home)
        try:
            _, errors = process.communicate(timeout=moments.uniform(0.05, job.longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate()
        outcome.tried += 1
        outcome.tracebacks += "Traceback" in errors
        now = samples(home)
        outcome.lost += sum(now.get(key) != value for key, value in before.items())
        before = now
    finished(job.words, home)
    rounds: dict = {}
    for label, key, number in samples(home):
        rounds.setdefault((label, key), []).append(number)
    outcome.doubled = sum(sorted(numbers) != list(range(len(numbers))) for numbers in rounds.values())
    outcome.equal = job.seen(calm) == job.seen(home)
    shutil.rmtree(scratch)
    return outcome


def evaluations(run: str) -> Callable[[Path], object]:
    def seen(home: Path) -> object:
        lines = [json.loads(line) for line in (home / run / "evaluations.jsonl").read_text().splitlines()]
        found = {
            json.dumps(line["codes"]): (line["value"], line["tie_break"], line.get("failure"))
            for line in lines
        }
        assert len(found) == len(lines), "an architecture was evaluated twice"
        result = json.loads((home / run / "result.json").read_text())
        return found, result["evaluations"], len(result["finalists"])

    return seen


def tensors(file: str) -> Callable[[Path], object]:
    def seen(home: Path) -> object:
        from safetensors.numpy import load_file

        return {k: np.asarray(v).tobytes() for k, v in load_file(home / file).items() if "optimizer" not in k}

    return seen


def table_of(home: Path) -> object:
    return {key[:2] for key in samples(home)}


def digests(pattern: str) -> Callable[[Path], object]:
    def seen(home: Path) -> object:
        from nascli.lut.exchange.packs import read_pack

        return {p.name: read_pack(p).samples.keys() for p in sorted(home.glob(pattern))}

    return seen


def learned(run: str) -> Callable[[Path], object]:
    """The learned space, and what was evaluated in it."""

    def seen(home: Path) -> object:
        return json.loads((home / run / "space.json").read_text())["spec"], evaluations(run)(home)

    return seen


def exported(home: Path) -> object:
    return (home / "net.py").read_bytes(), (home / "net.safetensors").read_bytes()


QUICK = ("--supernet-epochs", "2", "--retrain-epochs", "1", "--batch", "2")


def jobs() -> list[Job]:
    search = ("search", "--constraint", "macs<=120k", *QUICK)
    return [
        Job("profile", ("profile", "--space", SPACE, "--batch", "2"), table_of, 4.0, None),
        Job("calibrate", ("calibrate", "--space", SPACE, "--networks", "8", "--batch", "2"), table_of, 4.0),
        Job("lut import", ("lut", "import", "a.parquet", "b.parquet"), samples, 1.2),
        Job("lut merge", ("lut", "merge", "a.parquet", "b.parquet", "--out", "both.parquet"), digests("both.parquet"), 1.2),
        Job("supernet train", ("supernet", "train", "--space", SPACE, "--epochs", "6", "--out", "s.safetensors"), tensors("s.safetensors"), 5.0),
        Job("train", ("train", "architecture.json", "--epochs", "6", "--out", "t"), tensors("t/weights.safetensors"), 6.0),
        Job("search spos", (*search, "--space", SPACE, "--population", "6", "--generations", "3", "--out", "r"), evaluations("r"), 5.0),
        Job("search guided", (*search, "--space", SPACE, "--algorithm", "guided", "--evaluations", "16", "--out", "r"), evaluations("r"), 5.0),
        Job("search pcnas", (*search, "--space", SPACE, "--algorithm", "pcnas", "--out", "r"), evaluations("r"), 5.0),
        Job("search random", (*search, "--space", SPACE, "--algorithm", "random", "--evaluations", "16", "--out", "r"), evaluations("r"), 5.0),
        Job("search evolution", (*search, "--space", SPACE, "--algorithm", "evolution", "--evaluations", "16", "--out", "r"), evaluations("r"), 5.0),
        Job("search proxyless", (*search, "--space", SPACE, "--algorithm", "proxyless", "--out", "r"), evaluations("r"), 5.0),
        Job("search nss", ("search", "--constraint", "macs<=400k", *QUICK, "--algorithm", "nss", "--space", STAGED, "--population", "6", "--generations", "2", "--out", "r"), learned("r"), 6.0),
        Job("search autospace", ("search", "--constraint", "macs<=400k", *QUICK, "--algorithm", "autospace", "--space", CELLS, "--population", "6", "--generations", "2", "--out", "r"), learned("r"), 8.0),
        Job("export", ("export", "architecture.json", "--weights", "weights.safetensors", "--format", "python", "--out", "net.py"), exported, 4.0),
        Job("search nse", ("search", "--constraint", "macs<=700k", *QUICK, "--space", BRANCHES, "--algorithm", "nse", "--out", "r"), evaluations("r"), 5.0, BRANCHES),
    ]  # fmt: skip


def prepared(folder: Path, spaces: set[str | None]) -> dict[str | None, Path]:
    """A home per space: profiled, with packs and an architecture to work on."""
    from nascli.spaces import Architecture, load_space

    found: dict[str | None, Path] = {}
    for name, space in (("empty", None), ("single", SPACE), ("branches", BRANCHES)):
        if space not in spaces:
            continue
        home = folder / name
        home.mkdir()
        if space is not None:
            finished(("profile", "--space", space, "--batch", "2"), home)
            made = load_space(space)
            finished(("lut", "export", "--batch", "2", "--out", "a.parquet"), home)
            shutil.copy(home / "a.parquet", home / "b.parquet")
            one = Architecture.of(made, made.sample(1, np.random.default_rng(0))[0], "one")
            one.save(home / "architecture.json")
            _weights_of(one, home / "weights.safetensors")
        found[space] = home
    time.sleep(0.1)
    return found


def _weights_of(architecture, path: Path) -> None:
    """Untrained weights of an architecture, to be exported."""
    import torch

    from nascli.supernet.modules import network_module
    from nascli.supernet.training.checkpoint import save_weights

    torch.manual_seed(0)
    save_weights(network_module([o.program for o in architecture.network.operators]), path)
