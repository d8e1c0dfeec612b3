"""What the ranks of a training by several processes run; they import this file and find it among the tests' helpers."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from preloaded import SERVER

from nascli.supernet.training import distributed

SPACE = "proxyless-mini:resolution=8,width=0.25,depth=1"
TRAIN = ["supernet", "train", "--space", SPACE, "--epochs", "1"]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def agent(out):
    """The agent of torchrun with two ranks, as `torchrun --max-restarts 3` starts it, but ranks are forked."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    here = f"127.0.0.1:{free_port()}"
    elastic_launch(
        LaunchConfig(
            1, 1, 2, rdzv_backend="static", rdzv_endpoint=here, rdzv_configs={"rank": 0, "timeout": 60},
            max_restarts=3, monitor_interval=0.05, start_method="forkserver",
        ),
        rank_that_may_die,
    )(str(out))  # fmt: skip


def rank_that_may_die(out):
    """A rank that writes a checkpoint after each step. In the first group, the second one is killed within a step."""
    from nascli.cli import main
    from nascli.supernet.training import trainer

    torch.set_num_threads(1)
    trainer._SAVE_EVERY_SECONDS = -1.0
    attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
    if attempt != "0" and not Path(out).exists():
        sys.exit("the group that died left no checkpoint")
    Path(f"{out}.{attempt}.{rank}").touch()
    if (attempt, rank) == ("0", "1"):
        average, steps = distributed.average_gradients, iter(range(12))

        def killed(parameters):
            if next(steps) == 11:
                os.kill(os.getpid(), signal.SIGKILL)
            average(parameters)

        distributed.average_gradients = killed
    main([*TRAIN, "--out", out], standalone_mode=False)


def train_a_little(file, rank=0, world=1, port=0):
    """Four steps, as one of several ranks."""
    from nascli.progress import Silent
    from nascli.spaces import make_space
    from nascli.supernet.data.images import load_images
    from nascli.supernet.separate import Supernet
    from nascli.supernet.training.recipe import Recipe
    from nascli.supernet.training.trainer import Trainer

    os.environ |= {
        "RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    distributed.join_process_group()
    space = make_space("proxyless-mini", resolution=8, width=0.25, depth=1)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    recipe = Recipe(epochs=1, batch=64, synchronised="yes")
    trainer = Trainer(
        Supernet(space), load_images("digits", 8).train, recipe, seed=3,
        path_of_step=lambda step: space.sample(1, np.random.default_rng([7, step]))[0].tolist(),
    )  # fmt: skip
    trainer.run(None, "x", Silent(), "t", until=4)
    trainer.save(file, "x")


def rank_environment(rank, world, port):
    """What torchrun tells a process."""
    return {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


class Ranks:
    """A command as several processes run it together, or as one process does.

    Args:
        words: The command line.
        world: Number of processes.
        env: Environment variables of all of them.
        prepare: Functions of this file that prepare a process before it runs the command, by its number.
    """

    def __init__(self, *words, world=2, env=None, prepare=None):
        port = free_port()
        self._folder = TemporaryDirectory()
        self._streams = [
            [Path(self._folder.name) / f"{kind}{rank}" for kind in ("out", "err")] for rank in range(world)
        ]
        self.processes = [
            SERVER.Process(
                target=run_rank,
                args=(
                    [str(word) for word in words],
                    {
                        **os.environ,
                        **(env or {}),
                        **(rank_environment(rank, world, port) if world > 1 else {}),
                    },
                    [str(path) for path in self._streams[rank]],
                    (prepare or {}).get(rank),
                ),
            )
            for rank in range(world)
        ]
        for process in self.processes:
            process.start()

    def finish(self, timeout=240):
        """Wait for all; return for each its exit status and what it wrote to stdout and stderr."""
        for process in self.processes:
            process.join(timeout)
            if process.exitcode is None:
                process.kill()
        found = [
            (process.exitcode, *(path.read_text() if path.exists() else "" for path in paths))
            for process, paths in zip(self.processes, self._streams, strict=True)
        ]
        self._folder.cleanup()
        return found


def run_rank(words, environment, streams, prepare):
    """Become one process: its environment and streams; then run the command."""
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams, start=1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    from measuring import measure_quickly

    from nascli.cli import main

    torch.set_num_threads(1)
    measure_quickly()
    if prepare is not None:
        prepare()
    main(words)


def saves_after_each_step():
    """Write a checkpoint after each step."""
    from nascli.supernet.training import trainer

    trainer._SAVE_EVERY_SECONDS = -1.0
    sees_few_images()


def dies_in_a_step():
    """Be killed within the sixth step; checkpoints are written after each."""
    saves_after_each_step()
    average, steps = distributed.average_gradients, iter(range(6))

    def killed(parameters):
        if next(steps) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        average(parameters)

    distributed.average_gradients = killed


def sees_few_images(count=256):
    """Train and evaluate on the first images of each part of the data set."""
    from dataclasses import replace

    from nascli.supernet.data.images import Images

    move = Images.to

    def few(images, device):
        moved = move(images, device)
        parts = {
            name: replace(split, images=split.images[:count], labels=split.labels[:count])
            for name in ("train", "validation", "test")
            for split in (getattr(moved, name),)
        }
        return replace(moved, **parts)

    Images.to = few


def has_other_data():
    """See one image of the data set otherwise than the other processes."""
    from sklearn import datasets

    load = datasets.load_digits

    def changed():
        bunch = load()
        bunch.images[7] += 1
        return bunch

    datasets.load_digits = changed


def fails_in_an_evaluation():
    """Fail when architectures are evaluated."""
    from nascli.errors import TrainingError
    from nascli.supernet.evaluation.prefix_tree import PrefixTree

    def fail(*arguments, **options):
        raise TrainingError("this process cannot evaluate.", "Look into it.")

    PrefixTree.accuracies = fail


def fails_in_a_step():
    """Fail in the middle of training, where the other process waits for gradients."""
    from nascli.errors import TrainingError

    def fail(parameters):
        raise TrainingError("this process cannot train.", "Look into it.")

    distributed.average_gradients = fail


def joined(rank, world, port):
    """Become one of several processes."""
    os.environ |= rank_environment(rank, world, port)
    # Without a number of threads in the environment, each process takes its part of the cores.
    del os.environ["OMP_NUM_THREADS"]
    distributed.join_process_group()


def normalise(folder, rank, world, port):
    """Normalise this process's rows of a batch; write the results, gradients, and running statistics."""
    from nascli.supernet.masked import _sliced_batch_norm
    from nascli.supernet.training.synchronised_norm import synchronise_batch_norm

    joined(rank, world, port)
    found = {}
    for name, affine, channels in (("affine", True, 4), ("plain", False, 4), ("sliced", True, 3)):
        norm, x, target = case_of_normalisation(affine, channels)
        synchronise_batch_norm(norm)
        rows = distributed.rows_of_this_process(len(x))
        own = x[rows].contiguous(memory_format=torch.channels_last).requires_grad_()
        y = norm(own) if channels == 4 else _sliced_batch_norm(norm, own)
        # Unequal numbers of rows: the sum over all rows is what one process computes.
        (y * target[rows]).sum().backward()
        found |= {f"{name}/y": y.detach(), f"{name}/x": own.grad, f"{name}/mean": norm.running_mean}
        found |= {f"{name}/variance": norm.running_var, f"{name}/batches": norm.num_batches_tracked}
        if affine:
            found[f"{name}/weight"] = distributed.add_up(norm.weight.grad)
            found[f"{name}/bias"] = distributed.add_up(norm.bias.grad)
    torch.save(found, folder / f"{rank}.pt")


def case_of_normalisation(affine, channels):
    """A normalisation of four channels, a batch of five images far from zero, and weights of the outputs."""
    rng = torch.Generator().manual_seed(0)
    norm = torch.nn.BatchNorm2d(4, affine=affine)
    if affine:
        with torch.no_grad():
            norm.weight.copy_(torch.rand(4, generator=rng))
            norm.bias.copy_(torch.rand(4, generator=rng))
    x = 100 + torch.randn(5, channels, 3, 2, generator=rng)
    return norm, x, torch.randn(5, channels, 3, 2, generator=rng)


def talk(folder, rank, world, port):
    """Use each way in which processes tell each other something; write what came of it."""
    from nascli.errors import InfeasibleError, NascliError, UnknownNameError
    from nascli.search.base import Evaluation, Score
    from nascli.search.run_folder import RunFolder

    joined(rank, world, port)

    def raising(error, on=(0,)):
        def function():
            if rank in on:
                raise error
            return rank

        return function

    def caught(function, *arguments):
        try:
            return function(*arguments)
        except (NascliError, ValueError) as error:
            return [type(error).__name__, str(error), getattr(error, "process", None)]

    def alone():
        # Within it the first process is by itself.
        assert distributed.world_size() == 1 and distributed.on_first(lambda: 1) == 1
        return {"rank": rank, "pair": (1, 2.5)}

    found = {
        "first": distributed.on_first(alone),
        "all": distributed.on_all(lambda: rank),
        "together": distributed.together(lambda: rank),
        "shares": distributed.compute_shares([1, 2, 3], lambda items: [10 * item for item in items]),
        "few": distributed.compute_shares([1], lambda items: [10 * item for item in items]),
        "domain error": caught(distributed.on_first, raising(InfeasibleError("too small.", "Widen it."))),
        "own constructor": caught(distributed.on_first, raising(UnknownNameError("space", "x", ["y"]))),
        "bug": caught(distributed.on_first, raising(ValueError("wrong"))),
        "one of all": caught(distributed.together, raising(NascliError("not here."), on=(1,))),
        "different": caught(distributed.require_same, "data", f"digest {rank}"),
        "same": caught(distributed.require_same, "data", "digest"),
        "weights": [distributed.loss_weight(batch) for batch in (4, 5)],
        "few rows": caught(distributed.require_rows, 1),
        "threads": torch.get_num_threads(),
    }
    tensors = [torch.zeros(3, requires_grad=True), torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)]
    unused = torch.zeros(1, requires_grad=True)
    for tensor in tensors:
        tensor.grad = torch.full_like(tensor, 1.0 + rank)
    distributed.average_gradients([*tensors, unused])
    found["gradients"] = [tensor.grad.tolist() for tensor in tensors]
    norm = torch.nn.BatchNorm2d(1)
    norm.running_mean += rank
    distributed.share_buffers(norm)
    found["buffers"] = norm.running_mean.tolist()
    with RunFolder(folder / "run", {"a": 1}) as run:
        found["nothing"] = run.read("x.json")
        run.write("x.json", {"by": rank})
        found["read"] = run.read("x.json")
        state = run.state("state.json")
        state.put("a", [1])
        distributed.wait_for_all()
        found["state"] = run.state("state.json").get("a")
        for number in range(2):
            journal = run.journal()
            found[f"journal {number}"] = [list(evaluation.architecture) for evaluation in journal]
            journal.add(Evaluation((number, 2), Score(0.5), 0.1))
            found[f"added {number}"] = [list(evaluation.architecture) for evaluation in journal]
            journal.close()
            distributed.wait_for_all()
        # The folder is locked by the first process, and all are refused.
        found["locked"] = caught(RunFolder(folder / "run", {"a": 1}).__enter__)
    found["other settings"] = caught(RunFolder(folder / "run", {"a": 2}).__enter__)
    (folder / f"{rank}.json").write_text(json.dumps(found))


def computes_in_double():
    """Compute in double precision, on few images.

    At a high learning rate a difference in the last digit grows tenfold in each step; in double precision it is still
    nothing after the thirty steps of a test.
    """
    from dataclasses import replace

    from nascli.pipeline.train import export
    from nascli.supernet.data.images import Images

    def few(split):
        return replace(split, images=split.images[:128].double(), labels=split.labels[:128])

    def in_double(images, device):
        parts = {name: few(getattr(images, name)) for name in ("train", "validation", "test")}
        return replace(images, **parts)

    Images.to, run_onnx = in_double, export.run_onnx
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    product = torch.Tensor.__matmul__

    def of_two_types(a, b):
        common = torch.promote_types(a.dtype, b.dtype)
        return product(a.to(common), b.to(common))

    torch.Tensor.__matmul__ = of_two_types
    # The file that is written computes in single precision.
    export.run_onnx = lambda model, inputs: run_onnx(model, inputs.to(torch.float32))
