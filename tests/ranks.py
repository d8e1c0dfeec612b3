"""What the ranks of a training by several processes run; they import this file and find it among the tests' helpers."""

import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import torch

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
    net = distributed.synchronise_batch_norm(Supernet(space))
    trainer = Trainer(
        net, load_images("digits", 8).train, Recipe(epochs=1, batch=64), seed=3,
        path_of_step=lambda step: space.sample(1, np.random.default_rng([7, step]))[0].tolist(),
    )  # fmt: skip
    trainer.run(None, "x", Silent(), "t", until=4)
    trainer.save(file, "x")
