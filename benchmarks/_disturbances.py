"""Disturbs commands in other ways than by killing them, and checks their messages and what they leave behind."""

from __future__ import annotations

import ctypes
import json
import os
import pty
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks._kills import QUICK, SPACE, command, finished, samples

SEARCH = (
    "search",
    "--constraint",
    "macs<=120k",
    *QUICK,
    "--space",
    SPACE,
    "--population",
    "6",
    "--generations",
    "3",
    "--out",
    "r",
)
PROFILE = ("profile", "--space", SPACE, "--batch", "2")
TRAIN = ("supernet", "train", "--space", SPACE, "--epochs", "4", "--out", "s.safetensors")
# Refusals that a command may end in: done, told, or interrupted.
TOLD = (0, 1, 130)
# What `ran` says of a command that did not end.
HUNG = -999
# linux/prctl.h, linux/capability.h
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE = 1


@dataclass
class Disturbance:
    """How often something was tried and survived, and what did not."""

    name: str
    tried: int = 0
    survived: int = 0
    faults: list[str] = field(default_factory=list)

    def note(self, good: bool, what: str) -> None:
        self.tried += 1
        self.survived += good
        if not good:
            self.faults.append(what[-160:].replace("\n", " "))


def told(process: subprocess.CompletedProcess | subprocess.Popen, errors: str) -> bool:
    """Ended by itself, with a word and without a traceback."""
    return (
        process.returncode in TOLD
        and "Traceback" not in errors
        and (process.returncode == 0 or bool(errors.strip()))
    )


def ran(
    words, home: Path, limit: Callable[[], None] | None = None, seconds: float = 300
) -> tuple[subprocess.CompletedProcess, str]:
    """A command run to its end; one that hangs is ended, which no other ending looks like."""
    arguments = [sys.executable, "-m", "nascli", *words]
    try:
        done = subprocess.run(
            arguments, cwd=home, env={**os.environ, "NASCLI_HOME": str(home)}, capture_output=True, text=True,
            preexec_fn=limit, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, HUNG, "", f"no end after {seconds:.0f} s"), "it hung"
    return done, done.stderr


def outcome(home: Path) -> object:
    lines = [json.loads(line) for line in (home / "r" / "evaluations.jsonl").read_text().splitlines()]
    return [(line["codes"], line["value"]) for line in lines]


def weights(home: Path) -> object:
    from safetensors.numpy import load_file

    return {k: v.tobytes() for k, v in load_file(home / "s.safetensors").items() if k.startswith("module/")}


@contextmanager
def small_disk(place: Path, kib: int) -> Iterator[Path]:
    """A file system of so many KiB; where it cannot be mounted, PermissionError."""
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(place)], capture_output=True
    )
    if done.returncode:
        raise PermissionError("no tmpfs can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def disk_full(prepared: Path, scratch: Path, sizes: int) -> list[Disturbance]:
    """A disk that fills up at ever later moments; then it is enlarged, and the command goes on."""
    found = []
    for name, words, seen in (
        ("profile", PROFILE, lambda home: {k[:2] for k in samples(home)}),
        ("lut import", ("lut", "import", "a.parquet"), samples),
        (
            "lut export",
            ("lut", "export", "--batch", "2", "--out", "c.parquet"),
            lambda home: (home / "c.parquet").stat().st_size,
        ),
        ("supernet train", TRAIN, weights),
        ("search", SEARCH, outcome),
    ):
        disturbance = Disturbance(f"disk full: {name}")
        calm = scratch / "calm"
        shutil.copytree(prepared, calm)
        finished(words, calm)
        used = sum(p.stat().st_size for p in calm.rglob("*") if p.is_file()) // 1024
        least = sum(p.stat().st_size for p in prepared.rglob("*") if p.is_file()) // 1024 + 24
        expected = seen(calm)
        for kib in np.linspace(least, max(used * 1.05, least + 40), sizes).astype(int).tolist():
            try:
                with small_disk(scratch / "disk", kib) as disk:
                    home = disk / "home"
                    try:
                        shutil.copytree(prepared, home)
                    except (OSError, shutil.Error):
                        continue
                    done, errors = ran(words, home)
                    good = told(done, errors)
                    subprocess.run(
                        ["mount", "-o", "remount,size=512m", str(disk)], check=True, capture_output=True
                    )
                    after, complaint = ran(words, home)
                    equal = after.returncode == 0 and seen(home) == expected
                    disturbance.note(good and equal, f"{kib} KiB: {errors or complaint}")
            except PermissionError:
                limit = kib * 1024

                def file_limit(limit: int = limit) -> None:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

                home = scratch / "limited"
                shutil.copytree(prepared, home)
                done, errors = ran(words, home, file_limit)
                after, complaint = ran(words, home)
                disturbance.note(
                    told(done, errors) and after.returncode == 0 and seen(home) == expected,
                    errors or complaint,
                )
                shutil.rmtree(home)
        shutil.rmtree(calm)
        found.append(disturbance)
    return found


def _obeys_permissions() -> None:
    """Takes from a command that root starts what lets root write anywhere (the capability ends at its exec)."""
    if os.getuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(
        PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "root's right to write anywhere could not be dropped")


def read_only(prepared: Path, scratch: Path, _: int) -> list[Disturbance]:
    """Folders and files that cannot be written."""
    disturbance = Disturbance("read-only folders")
    home = scratch / "home"
    shutil.copytree(prepared, home)
    for path in (home, *home.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for words in (
        PROFILE, ("profile", "--space", SPACE, "--batch", "3"), ("lut", "export", "--batch", "2", "--out", "x.parquet"),
        ("lut", "import", "a.parquet"), TRAIN, SEARCH, ("train", "architecture.json", "--epochs", "1", "--out", "t"),
        ("lut", "show", "--batch", "2", "--html", "t.html"),
    ):  # fmt: skip
        done, errors = ran(words, home, _obeys_permissions)
        disturbance.note(
            done.returncode == 1 and "Traceback" not in errors and "error:" in errors,
            f"{words[:2]}: {errors}",
        )
    for path in (home, *home.rglob("*")):
        path.chmod(0o755)
    return [disturbance]


def little_memory(prepared: Path, scratch: Path, tries: int) -> list[Disturbance]:
    """An address space that is too small: what is kept is whole, and the command goes on with more."""
    disturbance = Disturbance("memory limit")
    home = scratch / "home"
    shutil.copytree(prepared, home)
    for words, seen in ((PROFILE, lambda h: {k[:2] for k in samples(h)}), (SEARCH, outcome)):
        for megabytes in np.geomspace(150, 3000, tries).astype(int).tolist():

            def limit(size: int = megabytes) -> None:
                resource.setrlimit(resource.RLIMIT_AS, (size << 20, size << 20))

            before = samples(home)
            done, errors = ran(words, home, limit)
            now = samples(home)
            kept = all(now.get(k) == v for k, v in before.items())
            disturbance.note(
                kept and done.returncode != HUNG, f"{megabytes} MB: {errors if kept else 'lost samples'}"
            )
        after, complaint = ran(words, home)
        disturbance.note(after.returncode == 0 and bool(seen(home)), complaint)
    return [disturbance]


def interrupted(prepared: Path, scratch: Path, tries: int) -> list[Disturbance]:
    """SIGINT twice in a row, and a terminal that goes away, at moments over the whole run; then it goes on."""
    twice, gone = Disturbance("SIGINT twice"), Disturbance("terminal gone")
    calm, rng = scratch / "calm", np.random.default_rng(0)
    shutil.copytree(prepared, calm)
    begun = time.monotonic()
    finished(SEARCH, calm)
    length, expected = time.monotonic() - begun, outcome(calm)
    for number in range(tries):
        home = scratch / f"int{number}"
        shutil.copytree(prepared, home)
        process = command(SEARCH, home)
        time.sleep(float(rng.uniform(0.3, 0.9 * length)))
        process.send_signal(signal.SIGINT)
        time.sleep(float(rng.uniform(0, 0.3)))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        after, complaint = ran(SEARCH, home)
        # While Python still imports, an interrupt is told by Python itself.
        own = "Traceback" in errors and "nascli/" in errors and "<frozen importlib" not in errors
        twice.note(not own and after.returncode == 0 and outcome(home) == expected, errors or complaint)
        shutil.rmtree(home)
    for number in range(tries):
        home = scratch / f"tty{number}"
        shutil.copytree(prepared, home)
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "nascli", *SEARCH], cwd=home, env={**os.environ, "NASCLI_HOME": str(home)},
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        time.sleep(float(rng.uniform(0.3, 0.9 * length)))
        os.close(controller)
        os.killpg(process.pid, signal.SIGHUP) if process.poll() is None else None
        process.wait(timeout=120)
        after, complaint = ran(SEARCH, home)
        gone.note(after.returncode == 0 and outcome(home) == expected, complaint)
        shutil.rmtree(home)
    return [twice, gone]


def two_at_once(prepared: Path, scratch: Path, tries: int) -> list[Disturbance]:
    """Two runs in one folder: one goes on, the other says so; nothing twice."""
    disturbance = Disturbance("two runs in one folder")
    calm = scratch / "calm"
    shutil.copytree(prepared, calm)
    finished(SEARCH, calm)
    expected = outcome(calm)
    for number in range(tries):
        home = scratch / f"two{number}"
        shutil.copytree(prepared, home)
        both = [command(SEARCH, home) for _ in range(2)]
        errors = [process.communicate(timeout=300)[1] for process in both]
        codes = sorted(process.returncode for process in both)
        told_so = codes == [0, 0] or (
            codes == [0, 1] and any("another process is working" in e for e in errors)
        )
        disturbance.note(
            told_so and "Traceback" not in "".join(errors) and outcome(home) == expected,
            f"{codes} {errors[1]}",
        )
        shutil.rmtree(home)
    return [disturbance]


def stale_table(prepared: Path, scratch: Path, tries: int) -> list[Disturbance]:
    """A table that is 30 % too fast: the verification must find out, and say that the table is stale."""
    disturbance = Disturbance("a table 30 % too fast is caught")
    for number in range(tries):
        home = scratch / f"stale{number}"
        shutil.copytree(prepared, home)
        with sqlite3.connect(home / "store.sqlite") as db:
            rows = db.execute("SELECT setup, operator, round, seconds FROM samples").fetchall()
            db.executemany(
                "UPDATE samples SET seconds = ? WHERE setup = ? AND operator = ? AND round = ?",
                [((np.frombuffer(b, "<f8") * 0.7).astype("<f8").tobytes(), s, o, r) for s, o, r, b in rows],
            )
        done, errors = ran(
            ("search", "--constraint", "latency=1s", *QUICK, "--space", SPACE, "--population", "6", "--generations", "2",
             "--out", "r", "--seed", str(number)), home
        )  # fmt: skip
        said = " ".join(errors.split())
        disturbance.note(done.returncode == 0 and "the table is stale" in said, errors)
        shutil.rmtree(home)
    return [disturbance]


def bad_evaluators(prepared: Path, scratch: Path, tries: int) -> list[Disturbance]:
    """Evaluators that are noisy, slow, raising, hanging, or give NaN: the search ends with what is left."""
    import nascli
    from nascli.costmodel import counted

    space = nascli.space(SPACE)
    macs = counted(space, "macs")
    budget = nascli.constrain(space, f"macs<={int((macs.minimum + macs.maximum) / 2)}")
    rng = np.random.default_rng(0)

    def plain(codes) -> float:
        return -float(sum(codes))

    def raising(codes) -> float:
        if sum(codes) % 3 == 0:
            raise RuntimeError("no room")
        return plain(codes)

    def hanging(codes) -> float:
        if sum(codes) % 5 == 0:
            time.sleep(30)
        return plain(codes)

    cases = {
        "noisy": lambda codes: plain(codes) + float(rng.normal(0, 2)),
        "slow": lambda codes: (time.sleep(0.02), plain(codes))[1],
        "raising": raising,
        "hanging": hanging,
        "giving NaN": lambda codes: float("nan") if sum(codes) % 4 == 0 else plain(codes),
    }
    found = []
    for name, evaluate in cases.items():
        disturbance = Disturbance(f"an evaluator that is {name}")
        for seed in range(tries):
            begun = time.monotonic()
            ranked = nascli.optimise(
                evaluate, budget, evaluations=24, workers=4, repeats=3 if name == "noisy" else 1, time_limit=0.3, seed=seed
            )  # fmt: skip
            seen = [entry.architecture for entry in ranked]
            good = 0 < len(seen) == len(set(seen)) <= 24 and time.monotonic() - begun < 60
            disturbance.note(
                good and all(np.isfinite(entry.score.value) for entry in ranked), f"{len(seen)} of 24"
            )
        found.append(disturbance)
    return found


def diverging(prepared: Path, scratch: Path, tries: int) -> list[Disturbance]:
    """A learning rate that makes the loss NaN: an error that says so, and the last good checkpoint is there."""
    import torch

    from nascli.errors import TrainingError
    from nascli.progress import Silent
    from nascli.spaces import load_space
    from nascli.supernet.data.images import load_images
    from nascli.supernet.modules import network_module
    from nascli.supernet.training.checkpoint import load_checkpoint
    from nascli.supernet.training.recipe import Recipe
    from nascli.supernet.training.trainer import Trainer

    disturbance = Disturbance("NaN in training")
    space, data = load_space(SPACE), load_images("digits", 8)
    network = space.network(space.sample(1, np.random.default_rng(0))[0])
    for seed in range(tries):
        torch.manual_seed(seed)
        module = network_module([o.program for o in network.operators])
        trainer = Trainer(module, data.train, Recipe(3, 64), seed=seed)
        file = scratch / f"nan{seed}.safetensors"
        trainer.run(file, "x", Silent(), "", until=10)
        good = load_checkpoint(file)[0]
        with torch.no_grad():
            next(iter(module.parameters())).fill_(float("nan"))
        try:
            Trainer.run(trainer, None, "x", Silent(), "")
            disturbance.note(False, "no error")
        except TrainingError as error:
            kept = load_checkpoint(file)[0]
            same = all(torch.equal(a, kept[name]) for name, a in good.items())
            disturbance.note("last good checkpoint is kept" in str(error) and same, str(error))
    return [disturbance]


DISTURBANCES = (
    disk_full, read_only, little_memory, interrupted, two_at_once, stale_table, bad_evaluators, diverging,
)  # fmt: skip
