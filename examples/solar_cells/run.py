"""Solar cells with defects: the winner of a search against rivals of the same measured latency, with five seeds.

The networks classify electroluminescence photographs (elpv-dataset, CC BY-NC-SA 4.0) within a latency budget on this
CPU. The winner of the search is compared with MobileNetV2, scaled to the same measured latency, and with random
architectures of the same space and measured latency; all are trained by one recipe. Killed and run again, the study
goes on where it was. See "A real case" in docs/tutorial.md.

    pip install 'nascli[cpu,search,elpv]'
    python examples/solar_cells/run.py --out runs/solar-cells
"""

import argparse
import os
from pathlib import Path

from report import results, table
from rich.console import Console
from rivals import HERE, Member, choose_networks
from train_members import train_all

import nascli
from nascli.files import read_json, write_json
from nascli.terminal import TerminalProgress

SPACE = "fbnet-mini:resolution=64,width=0.5"
BUDGET = "latency=0.2ms"
# The supernet sees the mirror images that the recipe shows to the networks; more epochs let shared weights rank better.
SEARCH = ("supernet.epochs=20", "supernet.flip=true", "supernet.flip_vertical=true", "supernet.shift=4")


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


def main():
    options = arguments()
    options.changes = tuple(options.changes or SEARCH)
    options.out.mkdir(parents=True, exist_ok=True)
    progress = TerminalProgress(Console(stderr=True))
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
    progress.finish()
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
