"""Two processes that train together compared with one, and what limits them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import statistics
import time
from typing import Any

import torch

from benchmarks._report import Target, spread
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.data.splits import MemorySplit
from nascli.supernet.modules import network_module
from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

NOTES = """
Processes: a network of ProxylessNAS's space at 224 px and a global batch of 32, images in memory, one thread for each
process. One process, and two that share each batch through nascli's trainer (gloo), a few steps each in turn; in
between the others sleep. Two limits are measured beside it: two processes that do not exchange anything, with half of the
batch each, show what the machine itself loses (memory, caches, clocks) when both cores compute; one process with half
of the batch shows how much of a step does not shrink with it. The share of the exchange is that of the process that
arrives last, which does not wait.
"""


class Rank:
    """One process of a group, with its network.

    Args:
        number: Number of the process.
        world: Number of processes of its group.
        size: Space and global batch.
    """

    def __init__(self, number: int, world: int, port: int, size: tuple[str, int]) -> None:
        torch.set_num_threads(1)
        if world > 1:
            os.environ |= {
                "RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
            }  # fmt: skip
            distributed.join_process_group()
        name, batch = size
        space = load_space(name)
        torch.manual_seed(0)
        code = [1 if len(layer.operators) > 1 else 0 for layer in space.layers]
        module = network_module([operator.program for operator in space.network(code).operators])
        images = torch.randn((2 * batch, *space.input), generator=torch.Generator().manual_seed(0))
        split = MemorySplit(images, torch.arange(2 * batch) % 10)
        self.trainer = Trainer(module, split, Recipe(epochs=1000, batch=batch), seed=0)
        self.exchange = 0.0
        average = distributed.average_gradients

        def timed(parameters: Any) -> None:
            start = time.perf_counter()
            average(parameters)
            self.exchange += time.perf_counter() - start

        distributed.average_gradients = timed  # type: ignore[assignment]

    def run(self, steps: int) -> tuple[float, float]:
        """Run some steps; return the seconds of all, and of the exchange of gradients."""
        self.exchange = 0.0
        start = time.perf_counter()
        self.trainer.run(None, "x", Silent(), "t", until=self.trainer.step + steps)
        return time.perf_counter() - start, self.exchange


def serve_steps(number: int, world: int, port: int, size: tuple[str, int], pipe: Any) -> None:
    """Run steps whenever asked."""
    rank = Rank(number, world, port, size)
    while steps := pipe.recv():
        pipe.send(rank.run(steps))
    distributed.leave_process_group()


class Group:
    """Processes that run steps when they are asked to."""

    def __init__(self, sizes: list[tuple[str, int]], *, talk: bool) -> None:
        context = multiprocessing.get_context("spawn")
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        self.pipes, self.processes = [], []
        for number, size in enumerate(sizes):
            ours, theirs = context.Pipe()
            arguments = (number, len(sizes) if talk else 1, port, size, theirs)
            self.processes.append(context.Process(target=serve_steps, args=arguments))
            self.processes[-1].start()
            theirs.close()
            self.pipes.append(ours)

    def run(self, steps: int) -> tuple[float, float]:
        """Seconds a step of the slowest process, and the share of the exchange alone."""
        for pipe in self.pipes:
            pipe.send(steps)
        results = [pipe.recv() for pipe in self.pipes]
        taken = max(seconds for seconds, _ in results)
        return taken / steps, min(exchange for _, exchange in results) / taken

    def close(self) -> None:
        """End the processes."""
        for pipe in self.pipes:
            pipe.send(0)
        for process in self.processes:
            process.join()


def run(quick: bool) -> tuple[list[list[str]], list[Target]]:
    """Rows and targets of this part."""
    space, batch = ("proxyless-mini:resolution=16,channels=3", 8) if quick else ("proxyless:classes=10", 32)
    turns, steps = (1, 2) if quick else (10, 2)
    groups = {
        "one": Group([(space, batch)], talk=False),
        "two": Group([(space, batch)] * 2, talk=True),
        "apart": Group([(space, batch // 2)] * 2, talk=False),
        "half": Group([(space, batch // 2)], talk=False),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in groups}
    for turn in range(turns + 1):
        for name, group in groups.items():
            result = group.run(steps)
            if turn:
                found[name].append(result)
    for group in groups.values():
        group.close()
    seconds = {name: [taken for taken, _ in results] for name, results in found.items()}

    def speedups(name: str) -> list[float]:
        return [a / b for a, b in zip(seconds["one"], seconds[name], strict=True)]

    def times(name: str) -> str:
        return f"{spread([1e3 * taken for taken in seconds[name]])} ms"

    shares = [100 * share for _, share in found["two"]]
    rows = [
        ["one process, a step", "", times("one")],
        ["two processes that share each batch / one process: speed", spread(speedups("two")), times("two")],
        ["share of the exchange of gradients in a step, %", spread(shares), ""],
        ["the same without any exchange: speed", spread(speedups("apart")), times("apart")],
        ["half of the batch in one process, the other core idle: speed", spread(speedups("half")), times("half")],
    ]  # fmt: skip
    return rows, [Target("two processes / one process, speed", statistics.median(speedups("two")), 1.6, True)]
