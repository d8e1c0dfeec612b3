"""Writes the data of test_frozen_results.py.

The files here were written by version 0.1.0, before its inside was designed anew, and are kept to prove that
files of that version can still be read, and that searches find what they found. So nobody makes the old files
again: a new version would only show that it reads its own. Results are recorded anew where a change of them
is intended:

    OMP_NUM_THREADS=1 python tests/data/frozen/make.py results [NAME ...]

and this is how the old files came to be:

    OMP_NUM_THREADS=1 python tests/data/frozen/make.py files
"""

import json
import lzma
import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import test_frozen_results as frozen
from commanding import run

HERE = Path(__file__).parent


def write(path, document):
    """Write a JSON file whose lines are short enough to compare."""
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def compact(document):
    """A JSON text with one line per case, or one per fact of a case."""
    facts = [f'"recorded_on": {json.dumps(document["recorded_on"])}']
    cases = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in case.items())
        + "\n}"
        for name, case in document["searches"].items()
    ]
    facts.append('"searches": {\n' + ",\n".join(cases) + "\n}")
    return "{\n" + ",\n".join(facts) + "\n}\n"


def record_results(names, work):
    """Search anew and record what was found; every case in a home of its own."""
    file = HERE / "results.json"
    document = json.loads(file.read_text()) if file.exists() else {"searches": {}}
    document["recorded_on"] = frozen.facts_of_numbers()
    commands = {name: frozen.search_args(name, options) for name, options in frozen.SEARCHES.items()}
    if (HERE / "supernet.safetensors.xz").exists():
        old = frozen.unpacked("supernet.safetensors", work / "old")
        commands["old supernet"] = [*frozen.FROM_OLD_SUPERNET, "--supernet", old]
    for name, command in commands.items():
        if names and name not in names:
            continue
        os.environ["NASCLI_HOME"] = str(work / name / "home")
        run(*command, "--out", work / name / "run")
        document["searches"][name] = frozen.summary(work / name / "run")
        print(name, flush=True)
    document["searches"] = {name: document["searches"][name] for name in commands}
    file.write_text(compact(document), encoding="utf-8")


def compress(path):
    """Keep a file of the work folder beside this script."""
    (HERE / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


def make_files(work):
    """Write the old files: a table, its pack, a supernet and finished runs; and what commands say of them."""
    os.environ["NASCLI_HOME"] = str(work / "home")
    store, pack, supernet = work / "store.sqlite", work / "pack.parquet", work / "supernet.safetensors"
    run("calibrate", "--space", frozen.CELLS, *frozen.PLACE, "--networks", "8", "--store", store)
    run(*frozen.SUPERNET_TRAIN, "--out", supernet)
    drawn = {}
    for name, options in frozen.RUNS.items():
        folder = work / "runs" / name
        place = ["--store", store] if name == "spos" else []
        run(*frozen.search_args(name, options), *place, "--out", folder)
        kept = HERE / "finished" / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for file in frozen.RUN_FILES:
            if (folder / file).exists():
                shutil.copy(folder / file, kept)
        drawn[name] = frozen.drawn((folder / "report.html").read_text(encoding="utf-8"))
    write(HERE / "drawn.json", drawn)
    # Now that the first run added its networks to the table.
    run("lut", "export", *frozen.PLACE, "--store", store, "--out", pack)
    compress(store)
    compress(supernet)
    shutil.copy(pack, HERE)
    architecture = HERE / "finished" / "spos" / "architecture.json"
    write(HERE / "expected.json", frozen.said_of_table(store, architecture))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[1:2] == ["files"]:
            make_files(Path(folder))
        elif sys.argv[1:2] == ["results"]:
            record_results(sys.argv[2:], Path(folder))
        else:
            sys.exit(__doc__)
