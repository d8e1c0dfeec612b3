"""Solar cells with defects: the winner of a search against rivals of the same measured latency, with five seeds.

The networks classify electroluminescence photographs (elpv-dataset, CC BY-NC-SA 4.0) within a latency budget on this
CPU. The winner of the search is compared with MobileNetV2, scaled to the same measured latency, and with random
architectures of the same space and measured latency; all are trained by one recipe. Killed and run again, the study
goes on where it was. See the second half of docs/tutorial.md.

    pip install 'nascli[cpu,search,elpv]'
    python examples/solar_cells/run.py --out runs/solar-cells
"""

import argparse
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from differences import compare

import nascli
from nascli.execution import Execution
from nascli.files import read_json, write_json
from nascli.pipeline.measure.whole_networks import measure_networks
from nascli.pipeline.run.result import versions
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.spaces import Architecture

HERE = Path(__file__).resolve().parent
SPACE = "spos-mini:resolution=64,width=2"
BUDGET = "latency=0.6ms"
# The supernet sees the mirror images that the recipe shows to the networks; more epochs let shared weights rank better.
SEARCH = ("supernet.epochs=30", "supernet.flip=true", "supernet.flip_vertical=true", "supernet.shift=4")
WINNER, MOBILENET, RANDOM = "winner", "mobilenetv2", "random"
# Random architectures that are measured for each one that is needed, and widths of MobileNetV2 that are tried.
CANDIDATES, WIDTHS = 4, np.arange(0.1, 2.001, 0.01).round(2)


@dataclass(frozen=True)
class Member:
    """A network of the study: where it comes from, and its latency, measured side by side with the others."""

    space: str
    choices: tuple[int, ...]
    macs: int
    params: int
    seconds: float
    low: float
    high: float

    @property
    def architecture(self):
        return Architecture.of(nascli.space(self.space), self.choices)


class Lines:
    """Progress as plain lines: what begins, and every message."""

    def start(self, task, total):
        print(task, flush=True)

    def advance(self, steps=1, note=""):
        pass

    def message(self, text, *remedies):
        print(text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out", type=Path, default=Path("runs/solar-cells"), help="keep the study in this folder"
    )
    parser.add_argument(
        "--results", type=Path, help="write results.json and results.md here (default: --out)"
    )
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--space", default=SPACE)
    parser.add_argument("--budget", default=BUDGET)
    parser.add_argument("--set", dest="changes", action="append", help="a hyper-parameter of the search")
    parser.add_argument("--recipe", default=str(HERE / "recipe.toml"))
    parser.add_argument("--epochs", type=int, help="train for so many epochs instead of the recipe's")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--tolerance", type=float, default=0.03, help="largest relative difference of latencies"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trainings at a time")
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("--seeds must be at least 2: a single one has no spread")
    return options


def mobilenet_widths(shape, classes):
    """Return the specification of each scaled MobileNetV2 that differs from the one before, in the order of size."""
    text = f"{HERE / 'mobilenetv2.py'}:mobilenetv2-scaled:resolution={shape.height},channels={shape.channels}"
    found = {}
    for width in WIDTHS:
        spec = f"{text},classes={classes},width={width:g}"
        found.setdefault(nascli.space(spec).digest, spec)
    return list(found.values())


def only_architecture(spec):
    """Return the architecture of a space that has nothing to choose."""
    space = nascli.space(spec)
    return Architecture.of(space, [0] * len(space.layers))


def nearest_widths(specs, seconds, count=3):
    """Return the scaled MobileNetV2s whose latencies are nearest to one, found by bisection on the device."""
    measured = {}

    def latency(index):
        if index not in measured:
            measured[index] = nascli.measure(only_architecture(specs[index]), batch=1).seconds
        return measured[index]

    low, high = 0, len(specs) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if latency(middle) < seconds else (low, middle)
    for index in range(max(0, low - 1), min(len(specs), high + 2)):
        latency(index)
    ranked = sorted(measured, key=lambda index: abs(measured[index] / seconds - 1))
    return [specs[index] for index in ranked[:count]]


def random_rivals(space, winner, count):
    """Draw architectures whose predicted latency is the winner's within 3 %, other than the winner."""
    cost = nascli.latency(space, nascli.profile(space, batch=1))
    predicted = float(cost(np.array([winner]))[0])
    window = f"{0.97 * predicted!r}s<=latency<={1.03 * predicted!r}s"
    feasible = nascli.constrain(space, window, latency=cost)
    rows = feasible.sample(10 * count, np.random.default_rng(1))
    distinct = dict.fromkeys(tuple(row) for row in rows.tolist())
    distinct.pop(tuple(winner), None)
    return list(distinct)[:count]


def choose_networks(architecture, options, progress):
    """Measure the winner and its rivals side by side, and keep those rivals that are as fast as the winner."""
    space, network = architecture.space, architecture.network
    progress.start("rivals of the same latency", 2)
    seconds = nascli.measure(architecture, batch=1).seconds
    specs = nearest_widths(mobilenet_widths(network.input, network.output.channels), seconds)
    mobilenets = [only_architecture(spec) for spec in specs]
    rows = random_rivals(space, architecture.choices, CANDIDATES * options.seeds)
    together = [architecture, *mobilenets, *(Architecture.of(space, row) for row in rows)]
    figures = measure_networks(
        [each.network for each in together],
        TargetSpec(batch=1),
        Execution(store=options.out / "side_by_side.sqlite"),
        protocol=MeasurementProtocol(),
        seed=0,
        progress=progress,
    )
    specs = [space.spec, *specs, *(space.spec for _ in rows)]
    members = [
        Member(spec, each.choices, counts.macs, counts.params, figure.seconds, figure.low, figure.high)
        for spec, each, figure in zip(specs, together, figures, strict=True)
        for counts in [each.network.counts]
    ]
    first, rest = members[0], members[1:]
    distance = [abs(member.seconds / first.seconds - 1) for member in rest]
    mobilenet = int(np.argmin(distance[: len(mobilenets)]))
    randoms = [
        member
        for member, far in zip(rest[len(mobilenets) :], distance[len(mobilenets) :], strict=True)
        if far <= options.tolerance
    ]
    if distance[mobilenet] > options.tolerance or len(randoms) < options.seeds:
        raise SystemExit(
            f"rivals must be as fast as the winner within {options.tolerance:.0%}: the nearest MobileNetV2 differs by "
            f"{distance[mobilenet]:.1%}, and {len(randoms)} of {len(rows)} random architectures keep it, of which "
            f"{options.seeds} are needed. Remove {options.out / 'side_by_side.sqlite'} and run again while nothing "
            "else runs, or choose another --budget or --tolerance."
        )
    return {
        WINNER: [asdict(first)],
        MOBILENET: [asdict(rest[mobilenet])],
        RANDOM: [asdict(member) for member in randoms[: options.seeds]],
    }


def end_with_parent(parent):
    """Let a process that trains end with the study, even if that is killed."""
    import torch

    torch.set_num_threads(1)

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train(member, seed, folder, *, data, recipe, epochs):
    """Train a network with a seed, and return what it says about the test part; a finished one is read."""
    import torch

    from nascli.supernet.data.images import load_images
    from nascli.supernet.evaluation.accuracy import accuracy
    from nascli.supernet.modules import load_network

    document = read_json(folder / "test.json")
    if document is None:
        began = time.monotonic()
        architecture = member.architecture
        trained = nascli.train(
            architecture,
            out=folder,
            data=data,
            recipe=recipe,
            epochs=epochs,
            batch=1,
            train_on="all",
            seed=seed,
        )
        network = architecture.network
        test = load_images(data, network.input.height).test
        module = load_network(network, folder / "weights.safetensors")
        with torch.no_grad():
            images, labels = test.take(np.arange(len(test)))
            probabilities = torch.softmax(module(images).flatten(1), 1)
        # What nascli says, and what is counted below, are of the same images and weights.
        assert abs(accuracy(module, test).top1 - trained.top1) < 1e-6
        half = network.output.channels // 2
        document = {
            "predicted": probabilities.argmax(1).tolist(),
            "defective": [round(p, 6) for p in probabilities[:, half:].sum(1).tolist()],
            "labels": labels.tolist(),
            "seconds": time.monotonic() - began,
        }
        write_json(folder / "test.json", document)
    return document


def train_all(members, options):
    """Train every network of the study; return the documents of each network, one for each seed."""
    work = partial(train, data=options.data, recipe=options.recipe, epochs=options.epochs)
    jobs = {}
    began = time.monotonic()
    with ProcessPoolExecutor(
        options.processes,
        mp_context=get_context("spawn"),
        initializer=end_with_parent,
        initargs=(os.getpid(),),
    ) as pool:
        for seed in range(options.seeds):
            for name, group in members.items():
                folder = options.out / "trained" / f"{name}-{seed}"
                jobs[pool.submit(work, group[seed % len(group)], seed, folder)] = name, seed
        for number, job in enumerate(as_completed(jobs), 1):
            name, seed = jobs[job]
            document = job.result()
            right = np.mean(np.array(document["predicted"]) == document["labels"])
            spent = time.monotonic() - began
            left = spent / number * (len(jobs) - number)
            print(
                f"{name}, seed {seed}: {right:.1%}; {number} of {len(jobs)}, about {left / 60:.0f} min left",
                flush=True,
            )
    return {
        name: [
            next(job.result() for job, which in jobs.items() if which == (name, seed))
            for seed in range(options.seeds)
        ]
        for name in members
    }


def outcomes(documents, classes):
    """Return, by measure, what each image counts and whether each network is right about it.

    A cell is defective where the experts' probability is above one half: two thirds, or one.
    """
    labels = np.array(documents[WINNER][0]["labels"])
    defective = labels >= classes // 2
    shares = np.where(defective, 1 / max(1, defective.sum()), 1 / max(1, (~defective).sum()))
    even = np.full(len(labels), 1 / len(labels))
    top1 = {k: np.array([np.array(d["predicted"]) == labels for d in v]) for k, v in documents.items()}
    binary = {
        k: np.array([(np.array(d["defective"]) > 0.5) == defective for d in v]) for k, v in documents.items()
    }
    return labels, {
        "top1": (even, top1),
        "defective": (even, binary),
        "defective_balanced": (shares / shares.sum(), binary),
    }


def results(members, documents, options, classes):
    """Return the document of the results."""
    labels, measures = outcomes(documents, classes)
    scores, differences = {}, {}
    for measure, (weights, right) in measures.items():
        scores[measure] = {name: (rows @ weights).tolist() for name, rows in right.items()}
        differences[measure] = {
            rival: asdict(compare(right[WINNER], right[rival], weights, labels, np.random.default_rng(0)))
            for rival in (MOBILENET, RANDOM)
        }
    recipe = read_json(options.out / "trained" / f"{WINNER}-0" / "settings.json")["recipe"]
    return {
        "data": options.data.partition(":")[0],
        "test_images": len(labels),
        "test_images_by_class": np.bincount(labels, minlength=classes).tolist(),
        "space": options.space,
        "budget": options.budget,
        "search": list(options.changes),
        "recipe": recipe,
        "seeds": options.seeds,
        "tolerance": options.tolerance,
        "processor": this_cpu().title,
        "versions": versions(),
        "networks": {
            name: [{**asdict(member), "space": member.space.rpartition("/")[2]} for member in group]
            for name, group in members.items()
        },
        "scores": scores,
        "differences": differences,
        "training_seconds": {k: [round(d["seconds"]) for d in v] for k, v in documents.items()},
    }


TITLES = {
    "top1": "top-1, 4 classes",
    "defective": "defective or not",
    "defective_balanced": "defective or not, balanced",
}
NAMES = {WINNER: "winner of the search", MOBILENET: "MobileNetV2, scaled", RANDOM: "random architectures"}


def table(document):
    """Return the results as Markdown."""
    rows = [
        f"# {document['data']}, {document['budget']} at batch 1, {document['seeds']} seeds",
        "",
        f"{document['test_images']} test images, by class {document['test_images_by_class']}; space `{document['space']}`; "
        f"{document['processor']}. Means over seeds, with the standard deviation.",
        "",
        f"| network | measured | MACs | params | {' | '.join(TITLES.values())} |",
        f"|{'---|' * (4 + len(TITLES))}",
    ]
    for name, group in document["networks"].items():
        milliseconds = sorted(1000 * member["seconds"] for member in group)
        span = (
            f"{milliseconds[0]:.3f} ms"
            if len(group) == 1
            else f"{milliseconds[0]:.3f} to {milliseconds[-1]:.3f} ms"
        )
        macs, params = (np.mean([member[key] for member in group]) for key in ("macs", "params"))
        cells = [document["scores"][measure][name] for measure in TITLES]
        shown = [f"{100 * np.mean(s):.1f} ± {100 * np.std(s, ddof=1):.1f} %" for s in cells]
        rows.append(
            f"| {NAMES[name]} | {span} | {macs / 1e6:.1f}M | {params / 1e3:.0f}k | {' | '.join(shown)} |"
        )
    rows += [
        "",
        "The winner minus a rival, in points, paired by seed. The first interval (Student's t) is about other seeds on these test "
        "images, the second one (bootstrap) about other seeds and other photographs. *Visible* is the smallest true "
        "difference that so many seeds show four times out of five, given the spread found here.",
        "",
        "| measure | rival | difference | 95 %, seeds | 95 %, seeds and images | visible |",
        "|---|---|---|---|---|---|",
    ]
    for measure, by_rival in document["differences"].items():
        for rival, row in by_rival.items():
            p = {key: 100 * value for key, value in row.items()}
            rows.append(
                f"| {TITLES[measure]} | {NAMES[rival]} | {p['mean']:+.1f} | {p['low']:+.1f} to {p['high']:+.1f} | "
                f"{p['image_low']:+.1f} to {p['image_high']:+.1f} | {p['visible']:.1f} |"
            )
    return "\n".join(rows) + "\n"


def main():
    options = arguments()
    options.changes = tuple(options.changes or SEARCH)
    options.out.mkdir(parents=True, exist_ok=True)
    progress = Lines()
    found = nascli.search(
        options.space,
        options.budget,
        data=options.data,
        batch=1,
        changes=options.changes,
        out=options.out / "search",
        progress=progress,
    )
    architecture = found.architecture
    file = options.out / f"networks-{options.seeds}.json"
    chosen = read_json(file)
    if chosen is None:
        chosen = choose_networks(architecture, options, progress)
        write_json(file, chosen)
    members = {
        name: [Member(**{**row, "choices": tuple(row["choices"])}) for row in group]
        for name, group in chosen.items()
    }
    document = results(members, train_all(members, options), options, architecture.network.output.channels)
    folder = options.results or options.out
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", document)
    (folder / "results.md").write_text(table(document))
    print(table(document))


if __name__ == "__main__":
    main()
