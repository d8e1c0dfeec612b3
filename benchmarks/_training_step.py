"""A training step of nascli's trainer compared with a loop written by hand, in time and in memory."""

from __future__ import annotations

import math
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks._report import Target, spread
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.data.splits import MemorySplit
from nascli.supernet.modules import network_module
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

NOTES = """
Step: the same plain network from a space, the same recipe (SGD with Nesterov momentum and weight decay, a cosine with
warm-up, smoothed labels, channels-last), and images in memory: nascli's trainer and a loop written by hand, which looks
at its loss in every step, a few steps each in turn. One thread.
"""
MEMORY_NOTES = """
Memory: the peak of a process of its own (VmHWM) after 20 steps of the same loops, everything included; and its growth
beyond what the process holds before the first step, with images and network.
"""
WARMUP, SMOOTHING, DECAY, RATE = 0.1, 0.1, 4e-5, 0.05


class Case(NamedTuple):
    """A size at which steps are compared."""

    title: str
    space: str
    batch: int
    each: int


CASES = (
    Case("digits, 8 px", "proxyless-mini:resolution=8", 128, 10),
    Case("64 px", "proxyless-mini:resolution=64", 32, 3),
    Case("224 px", "proxyless:classes=10", 8, 2),
)
QUICK = (Case("digits, 8 px", "proxyless-mini:resolution=8,width=0.25", 16, 2),)


def prepared(case: Case) -> tuple[nn.Module, MemorySplit, Recipe]:
    """The network, the images, and the recipe of both sides."""
    space = load_space(case.space)
    if space.input.channels == 1:
        split = load_images("digits", space.input.height).train
        assert isinstance(split, MemorySplit)
    else:
        rng = torch.Generator().manual_seed(0)
        images = torch.randn((16 * case.batch, *space.input), generator=rng)
        split = MemorySplit(images, torch.arange(16 * case.batch) % 10)
    torch.manual_seed(0)
    code = [1 if len(layer.operators) > 1 else 0 for layer in space.layers]
    module = network_module([operator.program for operator in space.network(code).operators])
    recipe = Recipe(
        epochs=200, batch=case.batch, rate=RATE, warmup=WARMUP, label_smoothing=SMOOTHING, weight_decay=DECAY
    )
    return module, split, recipe


class OurLoop:
    """nascli's trainer."""

    def __init__(self, case: Case) -> None:
        module, split, recipe = prepared(case)
        self.trainer = Trainer(module, split, recipe, seed=0)

    def run(self, steps: int) -> float:
        """Run some steps; return the last loss."""
        self.trainer.run(None, "x", Silent(), "t", until=self.trainer.step + steps)
        return self.trainer.loss


class HandLoop:
    """The same training as one writes it with torch."""

    def __init__(self, case: Case) -> None:
        module, split, recipe = prepared(case)
        self.images, self.labels, self.batch = split.images, split.labels, recipe.batch
        self.steps_per_epoch = len(self.labels) // recipe.batch
        self.steps = recipe.epochs * self.steps_per_epoch
        self.module = module.to(memory_format=torch.channels_last).train()
        self.criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
        self.optimizer = torch.optim.SGD(
            module.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY, nesterov=True
        )
        warmup = round(WARMUP * self.steps)

        def share(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (self.steps - warmup)))

        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, share)
        self.step = 0
        self.order: Tensor = torch.empty(0)

    def run(self, steps: int) -> float:
        """Run some steps; return the last loss."""
        seen = math.nan
        for _ in range(steps):
            index = self.step % self.steps_per_epoch
            if index == 0:
                self.order = torch.randperm(len(self.labels))
            rows = self.order[index * self.batch : (index + 1) * self.batch]
            images = self.images[rows].contiguous(memory_format=torch.channels_last)
            loss = self.criterion(self.module(images), self.labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            seen = loss.item()
            self.step += 1
        return seen


LOOPS: dict[str, Callable[[Case], Any]] = {"nascli": OurLoop, "by hand": HandLoop}


def in_turn(case: Case, turns: int) -> dict[str, list[float]]:
    """Seconds a step of both loops, some steps of each in turn."""
    loops = {name: make(case) for name, make in LOOPS.items()}
    found: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns + 1):
        # Whoever comes second finds the caches of the other: each comes second every other time.
        for name in sorted(loops, reverse=turn % 2 == 0):
            start = time.perf_counter()
            loss = loops[name].run(case.each)
            if turn:
                found[name].append((time.perf_counter() - start) / case.each)
            if not np.isfinite(loss):
                raise ArithmeticError(f"{name}: the loss is {loss}")
    return found


def measure_peak(name: str, case: Case, steps: int, pipe: Any) -> None:
    """Report this process's peak of memory after some steps, and its growth by them, in MB."""
    torch.set_num_threads(1)
    loop = LOOPS[name](case)
    before = own_memory("VmRSS")
    loop.run(steps)
    # Not ru_maxrss, which a process inherits from the one that started it.
    peak = own_memory("VmHWM")
    pipe.send((peak, peak - before))


def own_memory(name: str) -> float:
    """A size of this process in MB, as the kernel calls it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:"))


def peak_memory(name: str, case: Case, steps: int) -> tuple[float, float]:
    """Peak and growth in MB, of a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measure_peak, args=(name, case, steps, theirs))
    process.start()
    theirs.close()
    peak, growth = ours.recv()
    process.join()
    return peak, growth


def run(quick: bool) -> tuple[list[list[str]], list[Target]]:
    """Rows and targets of the part about time."""
    torch.set_num_threads(1)
    rows, targets = [], []
    for case in QUICK if quick else CASES:
        found = in_turn(case, 2 if quick else 30)
        ratios = [a / b for a, b in zip(found["nascli"], found["by hand"], strict=True)]
        milliseconds = {name: [1e3 * t for t in taken] for name, taken in found.items()}
        rows.append([f"training step, {case.title}, batch {case.batch}: nascli / by hand", spread(ratios), f"{spread(milliseconds['nascli'])} against {spread(milliseconds['by hand'])} ms"])  # fmt: skip
        targets.append(Target(f"training step, {case.title}, nascli / by hand", statistics.median(ratios), 1.03, False))  # fmt: skip
    return rows, targets


def run_memory(quick: bool) -> tuple[list[list[str]], list[Target]]:
    """Rows and targets of the part about memory."""
    rows, targets = [], []
    for case in QUICK if quick else CASES:
        peaks = {name: [peak_memory(name, case, 2 if quick else 20) for _ in range(1 if quick else 3)] for name in LOOPS}  # fmt: skip
        middle = {name: [statistics.median(column) for column in zip(*values, strict=True)] for name, values in peaks.items()}  # fmt: skip
        ours, theirs = middle["nascli"], middle["by hand"]
        rows.append([f"peak memory, {case.title}: nascli / by hand", f"{ours[0] / theirs[0]:.3f}", f"{ours[0]:.0f} against {theirs[0]:.0f} MB; growth {ours[1]:.0f} against {theirs[1]:.0f} MB"])  # fmt: skip
        targets.append(Target(f"peak memory, {case.title}, nascli / by hand", ours[0] / theirs[0], 1.05, False))  # fmt: skip
    return rows, targets
