"""Dry runs of the papers' presets: ten steps of each phase in two processes, killed twice and resumed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks._report import Target
from nascli.spaces import load_space
from nascli.spaces.architecture import Architecture

NOTES = """
Presets: `nascli search --preset paper` of each paper, and training from scratch by NSE's recipe with a dagger, in two
processes of one thread each under torch.distributed.run, on generated images: ImageNet's folders with 1,000 classes
(two JPEG files each in train/, one of which is held out for validation, and 100 in val/) at 224 pixels, or CIFAR-10's
files with 1,280 images. Ten steps of each phase of training; populations are cut to a few architectures, and batches to
what two processes hold in memory and finish in minutes, as the column of changes says. The whole job is killed (SIGKILL to every
process) when the first checkpoint of its first training is there, and again at the first one of a training from scratch,
and run again each time: it must go on from the checkpoint. The end is verified: the folder is complete, its architecture keeps the
budget by an independent count, and ONNX Runtime computes finite logits of the right shape by its file. Memory is the peak of one process
(VmHWM), and the largest sum over all processes of what they hold, shared pages counted once (PSS).
"""
TIMEOUT = 4 * 3600


@dataclass(frozen=True)
class Case:
    """A preset and how it is cut.

    Attributes:
        algorithm: The algorithm; empty for training from scratch.
        space: The space.
        constraint: The budget.
        quick_constraint: The budget at 32 pixels.
        data: 'imagenet' or 'cifar10'.
        changes: Changes of hyper-parameters.
        batch: Images of a step of supernets; so that an epoch has ten steps.
        retraining_batch: Images of a step of training from scratch.
    """

    algorithm: str
    space: str
    constraint: str = ""
    quick_constraint: str = ""
    data: str = "imagenet"
    changes: tuple[str, ...] = ()
    batch: int = 100
    retraining_batch: int = 100


EVOLUTION = ("population=4", "generations=2", "parents=2")
CASES = {
    "spos": Case("spos", "spos", "macs<=330M", "macs<=8M", changes=tuple(f"spos.{c}" for c in EVOLUTION)),
    "pcnas": Case(
        "pcnas", "pcnas-small", "macs<=300M", "macs<=8M",
        changes=("pcnas.warmup=1", "pcnas.interval=1", "pcnas.pool=2", "pcnas.draws=2"),
    ),
    "nse": Case(
        "nse", "nse-27:width=0.5", "80M<=macs<=90M", "3M<=macs<=4M",
        changes=("nse.samples=4", "nse.beyond=1", "nse.rounds=2"),
    ),
    "nss": Case(
        "nss", "nss-expanded", "macs<=300M", "macs<=300M", "cifar10",
        changes=tuple(f"searcher.{c}" for c in EVOLUTION),
        batch=64, retraining_batch=64,
    ),
    "autospace": Case(
        "autospace", "autospace", "macs<=330M", "macs<=8M",
        changes=("autospace.warmup=1", "autospace.evolution=1", "autospace.frequency=4", "autospace.reference_epochs=1", *(f"searcher.{c}" for c in EVOLUTION)),
    ),
    "proxyless": Case("proxyless", "proxyless", "macs<=330M", "macs<=8M"),
    "retraining": Case("", "proxyless"),
    # The smoke test alone.
    "smoke": Case("spos", "spos-mini:resolution=16", "macs<=300M", "macs<=300M", "cifar10", tuple(f"spos.{c}" for c in EVOLUTION), 64, 64),
}  # fmt: skip
# The presets of the study.
NAMES = tuple(name for name in CASES if name != "smoke")
# What every search of the dry run cuts.
COMMON = ("calibration_images=100", "finalists=2")


def write_imagenet(folder: Path, size: tuple[int, int] = (80, 60)) -> None:
    """Write a folder of 1,000 classes with two images each in train/, and one of the first hundred in val/."""
    rng = np.random.default_rng(0)
    for part, each, classes in (("train", 2, 1000), ("val", 1, 100)):
        for number in range(classes):
            inner = folder / part / f"n{number:08}"
            inner.mkdir(parents=True, exist_ok=True)
            for image in range(each):
                coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
                coarse.resize(size).save(inner / f"{image}.jpg")


def write_cifar(folder: Path) -> None:
    """Write CIFAR-10's files with 256 images in each of the five of the training part, and in the test part."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        rows = rng.integers(0, 256, (256, 3073), dtype=np.uint8)
        rows[:, 0] = np.arange(256) % 10
        rows.tofile(folder / name)


def arguments_of(case: Case, folder: Path, quick: bool) -> list[str]:
    """The command line of a dry run."""
    data = folder / case.data
    space = case.space
    if quick and case.data == "imagenet":
        space += (":" if ":" not in space else ",") + "resolution=32"
    held_out = "1000" if case.data == "imagenet" else "0.5"
    shared = ["--data", f"{case.data}:{data}", "--validation", held_out, "--train-device", "cpu"]
    if not case.algorithm:
        spec = load_space(space)
        file = folder / "architecture.json"
        Architecture.of(spec, spec.sample(1, np.random.default_rng(0))[0]).save(file)
        return [
            "train", str(file), "--recipe", "nse-dagger", *shared, "--epochs", "1",
            "--set", f"recipe.batch={case.retraining_batch}", "--out", str(folder / "run"),
        ]  # fmt: skip
    changes = [*COMMON, *case.changes, f"supernet.batch={case.batch}", f"retraining.batch={case.retraining_batch}"]  # fmt: skip
    if case.algorithm in ("nss", "autospace"):
        changes.append(f"space_recipe.batch={case.batch}")
    budget = case.quick_constraint if quick else case.constraint
    return [
        "search", "--algorithm", case.algorithm, "--space", space, "--preset", "paper", "--constraint", budget, *shared,
        "--final-on", "train", "--supernet-epochs", "1", "--retrain-epochs", "1",
        *(word for change in changes for word in ("--set", change)), "--out", str(folder / "run"),
    ]  # fmt: skip


def descendants(root: int) -> list[int]:
    """A process and all that it started, directly or not."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found, rest = [], [root]
    while rest:
        found.append(rest.pop())
        rest += parents.get(found[-1], [])
    return found


def kilobytes(pid: int, file: str, key: str) -> int:
    """A field of /proc/PID/FILE; 0 for a process that has ended."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))
    return 0


def checkpoints(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Checkpoints of unfinished and finished trainings below a folder, with their steps."""
    from safetensors import SafetensorError, safe_open

    for path in folder.rglob("*.safetensors"):
        with contextlib.suppress(SafetensorError, OSError, KeyError), safe_open(path, framework="np") as file:
            state = json.loads((file.metadata() or {})["state"])
            if "step" in state:
                yield path, state


class Job:
    """One dry run in its folder: it is started, watched, killed, and started again."""

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self.arguments, self.folder = arguments, folder
        # Training from scratch alone has one checkpoint.
        self.kills_twice = arguments[0] == "search"
        self.peak, self.sum = 0, 0
        # Checkpoints at which the job was killed, with their states.
        self.kills: dict[Path, dict[str, Any]] = {}

    def start(self, attempt: int) -> subprocess.Popen[bytes]:
        """Start both processes under torch.distributed.run."""
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
        environment = {**os.environ, "NASCLI_HOME": str(self.folder / "home"), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"log{attempt}.txt").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, *launch, "-m", "nascli", *self.arguments],
                stdout=log, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip

    def look(self, process: subprocess.Popen[bytes]) -> None:
        """Note what memory the processes hold."""
        pids = descendants(process.pid)[1:]
        self.peak = max([self.peak, *(kilobytes(pid, "status", "VmHWM") for pid in pids)])
        self.sum = max(self.sum, sum(kilobytes(pid, "smaps_rollup", "Pss") for pid in pids))

    def run(self) -> float:
        """Run to the end with the kills; return the seconds of all attempts together."""
        begun = time.monotonic()
        # The first checkpoint of any training, the first one of a training from scratch, and the end.
        stages = (self.folder, self.folder / "run", None) if self.kills_twice else (self.folder, None)
        for attempt, below in enumerate(stages):
            process = self.start(attempt)
            while process.poll() is None:
                self.look(process)
                states = dict(checkpoints(self.folder))
                for path, state in self.kills.items():
                    if path in states and states[path]["step"] < state["step"]:
                        self.fail(process, attempt, f"{path.name} was begun anew")
                if time.monotonic() - begun > TIMEOUT:
                    self.fail(process, attempt, "it takes too long")
                new = [path for path in states if path not in self.kills and below and below in path.parents]
                if new:
                    self.kills[new[0]] = states[new[0]]
                    kill_all(process)
                    break
                time.sleep(0.3)
            else:
                if process.returncode != 0 or below is not None:
                    self.fail(process, attempt, f"it ended with {process.returncode}")
        return time.monotonic() - begun

    def fail(self, process: subprocess.Popen[bytes], attempt: int, reason: str) -> None:
        """End a job that failed, or ended before it could be killed, with its last words."""
        kill_all(process)
        words = (
            (self.folder / f"log{attempt}.txt").read_text(errors="replace").partition("torch/distributed")[0]
        )
        raise RuntimeError(f"{reason}: attempt {attempt} of {' '.join(self.arguments)}\n{words}")


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started."""
    for pid in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def count_macs(file: Path) -> int:
    """Multiply-accumulates of one sample, from the shapes in an ONNX file alone."""
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(file))
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.value_info, *model.graph.output)
    }
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            kernel = weights[node.input[1]]
            # All values of a kernel are used for each place of the output, of all channels together.
            total += int(np.prod(kernel)) * int(np.prod(shapes[node.output[0]][2:]))
    return total


def verify(folder: Path, case: Case, budget: str) -> str:
    """Check the end of a run from its files alone; return what was found.

    Raises:
        ValueError: Something is missing or wrong.
    """
    import onnxruntime

    run = folder / "run"
    needed = ["weights.safetensors", "model.onnx"]
    needed += ["result.json", "report.html", "architecture.json"] if case.algorithm else ["training.json"]
    missing = [name for name in needed if not (run / name).exists()]
    if missing:
        raise ValueError(f"{case.algorithm or 'train'}: {', '.join(missing)} missing")
    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    logits = session.run(None, {entry.name: np.random.default_rng(0).random(entry.shape, np.float32)})[0]
    classes = 1000 if case.data == "imagenet" else 10
    if logits.shape != (entry.shape[0], classes) or not np.isfinite(logits).all():
        raise ValueError(f"{case.algorithm or 'train'}: the file computes logits {logits.shape}")
    if not case.algorithm:
        return "the file computes"
    macs = count_macs(run / "model.onnx") / 1e6
    low, high = re.fullmatch(r"(?:([\d.]+)M<=)?macs<=([\d.]+)M", budget).groups()  # type: ignore[union-attr]
    if not float(low or 0) <= macs <= float(high):
        raise ValueError(f"{case.algorithm}: the winner has {macs:.1f}M MACs, not {budget}")
    return f"{macs:.3g}M MACs, the file computes"


def run_case(name: str, quick: bool) -> tuple[list[list[str]], list[Target]]:
    """Row and target of one preset."""
    case = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (write_imagenet if case.data == "imagenet" else write_cifar)(folder / case.data)
        arguments = arguments_of(case, folder, quick)
        job = Job(arguments, folder)
        seconds = job.run()
        end = verify(folder, case, case.quick_constraint if quick else case.constraint)
        shown = " ".join(arguments).replace(str(folder / case.data), "DATA").replace(str(folder), "OUT")
    kills = " and ".join(f"step {state['step']} of {state['steps']}" for state in job.kills.values())
    row = [
        f"preset {name}: peak of a process, and of all together",
        f"{job.peak / 1e6:.2f} GB, {job.sum / 1e6:.2f} GB",
        f"{seconds / 60:.0f} min; killed at {kills}; {end}; `nascli {shown}`",
    ]
    return [row], [Target(f"preset {name}: killed, resumed, and verified", 1.0, 1.0, True)]
