"""The supernet engine compared with plain torch: step time, memory, evaluation, and two processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks._report import Target, parse_arguments, spread, write
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.data.images import Images, load_images
from nascli.supernet.evaluation.accuracy import SupernetEvaluator, accuracy
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.modules import network_module
from nascli.supernet.separate import Supernet
from nascli.supernet.training.checkpoint import load_checkpoint
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer

NOTES = """
CPU, two threads. Step: a training step of the supernet on one fixed path compared with the same trainer on a plain
network of that architecture, alternating. Memory: growth of the process's peak over 20 steps, in a process of its own,
and the weights that the path does not use. Evaluation: one architecture in the supernet, with recalculated statistics,
compared with plain inference on the same number of images. Tree: potentials as PC-NAS requests them (prefixes of a
pool, completed at random), one at a time compared with a prefix tree; and the same for completions that are drawn late
in the search, where prefixes are long. Two processes: gloo under torch.distributed.run, half of the batch each, one
thread each, compared with one process with one thread: the largest difference of any weight or statistic after 1 and
after 8 steps, and the ratio of their step times.
"""
TRAIN = """
import sys, time, torch, numpy as np, resource
from pathlib import Path
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.separate import Supernet
from nascli.supernet.training import distributed
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer
distributed.join_process_group()
torch.set_num_threads(1)
space = load_space(sys.argv[2])
torch.manual_seed(0)
net = distributed.synchronise_batch_norm(Supernet(space))
path = lambda s: space.sample(1, np.random.default_rng([7, s]))[0].tolist()
steps = int(sys.argv[3])
t = Trainer(net, load_images('digits', space.input.height).train, Recipe(epochs=9, batch=128), seed=3, path_of_step=path)
t.run(None, 'x', Silent(), 't', until=1)
if distributed.is_first_process():
    t.save(Path(sys.argv[1]), 'x')
t.run(None, 'x', Silent(), 't', until=8)
if distributed.is_first_process():
    t.save(Path(sys.argv[1] + '8'), 'x')
start = time.perf_counter()
t.run(None, 'x', Silent(), 't', until=8 + steps)
if distributed.is_first_process():
    print((time.perf_counter() - start) / steps)
"""
MEMORY = """
import sys, torch, numpy as np, resource
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.modules import network_module
from nascli.supernet.separate import Supernet
from nascli.supernet.training.recipe import Recipe
from nascli.supernet.training.trainer import Trainer
space = load_space(sys.argv[1])
code = [2] * len(space.layers)
data = load_images('digits', space.input.height).train
torch.manual_seed(0)
net = Supernet(space) if sys.argv[2] == 'super' else network_module([o.program for o in space.network(code).operators])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = (lambda s: code) if sys.argv[2] == 'super' else None
Trainer(net, data, Recipe(epochs=9, batch=256), seed=3, path_of_step=path).run(None, 'x', Silent(), 't', until=20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, sum(p.numel() * 4 for p in net.parameters()))
"""


def steps_in_turn(first: Trainer, second: Trainer, turns: int, each: int) -> tuple[list[float], list[float]]:
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for trainer, found in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            trainer.run(None, "x", Silent(), "t", until=trainer.step + each)
            if turn:
                found.append((time.perf_counter() - start) / each)
    return taken


def child(code: str, *arguments: str, processes: int = 1) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.py"
        script.write_text(code)
        launch = [] if processes == 1 else ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--master_port=29533"]  # fmt: skip
        done = subprocess.run([sys.executable, *launch, str(script), *arguments], capture_output=True, text=True, check=True, timeout=600)  # fmt: skip
    return done.stdout


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    torch.set_num_threads(1 if quick else 2)
    rows: list[list[str]] = []
    spec = "pcnas-small-mini"
    space = load_space("pcnas-small-mini:width=0.25,resolution=8" if quick else spec)
    data = load_images("digits", space.input.height)
    code = [2] * len(space.layers)
    recipe = Recipe(epochs=1000, batch=32 if quick else 128)
    torch.manual_seed(0)
    shared = Trainer(Supernet(space), data.train, recipe, seed=1, path_of_step=lambda step: code)
    plain = Trainer(
        network_module([o.program for o in space.network(code).operators]), data.train, recipe, seed=1
    )
    ours, theirs = steps_in_turn(shared, plain, 2 if quick else 15, 2 if quick else 5)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    step_ratio = float(np.median(ratios))
    rows.append(["training step, supernet / plain", spread(ratios), f"{spread([t * 1e3 for t in ours])} ms"])
    memory_ratio = float("nan")
    if not quick:
        grown, weights = {}, {}
        for kind in ("super", "plain"):
            grown[kind], weights[kind] = (int(v) for v in child(MEMORY, space.spec, kind).split())
        memory_ratio = grown["super"] / grown["plain"]
        idle = (weights["super"] - weights["plain"]) / 1e6
        rows.append(["peak memory of training, supernet / plain", f"{memory_ratio:.3f}", f"{grown['super'] / 1e3:.0f} MB, idle weights {idle:.1f} MB"])  # fmt: skip
    supernet = Supernet(space)
    evaluate = SupernetEvaluator(supernet, data, calibration=256)
    module = network_module([o.program for o in space.network(code).operators]).eval()
    both = data.train.subset(np.arange(256)).joined(data.validation)
    shares = []
    for turn in range(3 if quick else 12):
        start = time.perf_counter()
        evaluate(code)
        middle = time.perf_counter()
        accuracy(module, both)
        if turn:
            shares.append((middle - start) / (time.perf_counter() - middle))
    rows.append(["evaluating an architecture / plain inference", spread(shares), ""])
    deep = load_space("pcnas-small-mini:width=0.25,resolution=8" if quick else "pcnas-small:resolution=32,width=0.25,classes=10,channels=1")  # fmt: skip
    small = load_images("digits", deep.input.height)
    small = Images(small.name, 10, small.train, small.validation.subset(np.arange(128)), small.test)
    big = Supernet(deep)
    layers = len(deep.layers)
    speedups = []
    for depth in (layers // 3, 2 * layers // 3, layers - 1):
        rng = np.random.default_rng(depth)
        pool = deep.sample(5, rng)[:, :depth]
        codes = np.repeat(pool, 2 if quick else 10, axis=0)
        codes = np.concatenate([codes, deep.sample(len(codes), rng)[:, depth:]], axis=1)
        tree = PrefixTree(big, codes[np.lexsort(codes.T[::-1])].tolist())
        found = []
        for turn in range(2 if quick else 4):
            start = time.perf_counter()
            tree.quick_accuracies(small.validation.images, small.validation.labels)
            middle = time.perf_counter()
            for row in codes:
                PrefixTree(big, [row.tolist()]).quick_accuracies(small.validation.images, small.validation.labels)  # fmt: skip
            if turn:
                found.append((time.perf_counter() - middle) / (middle - start))
        speedups.append(float(np.median(found)))
        rows.append([f"prefix tree, {len(codes)} architectures of {layers} layers, prefix of {depth}", spread(found), f"{tree.node_count} of {len(codes) * len(deep.blocks)} blocks"])  # fmt: skip
    targets = [
        Target("training step, supernet / plain", step_ratio, 1.05, False),
        Target("prefix tree against one at a time, late in the search", speedups[-1], 2.0, True),
    ]
    if not quick:
        with tempfile.TemporaryDirectory() as folder:
            one, two = Path(folder) / "one", Path(folder) / "two"
            alone_step = float(child(TRAIN, str(one), spec, "20"))
            both_step = float(child(TRAIN, str(two), spec, "20", processes=2).split()[-1])
            differences = []
            for tail in ("", "8"):
                a, b = (load_checkpoint(file.with_name(file.name + tail))[0] for file in (one, two))
                differences.append(max(float((a[k] - b[k]).abs().max()) for k in a if k.startswith("module/") and "num_batches" not in k))  # fmt: skip
            apart = differences[0]
        rows.append(["two processes: largest difference of a weight after 1 step, 8 steps", f"{differences[0]:.1e}, {differences[1]:.1e}", "rounding grows from step to step"])  # fmt: skip
        rows.append(["two processes: speed-up of a step", f"{alone_step / both_step:.2f}", f"{alone_step * 1e3:.0f} to {both_step * 1e3:.0f} ms"])  # fmt: skip
        targets += [
            Target("peak memory, supernet / plain, idle weights apart", memory_ratio, 1.1, False),
            Target("two processes: largest difference of a weight after a step", apart, 1e-3, False),
        ]
    write("supernet", ["what", "ratio: median [min, max]", "figures"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
