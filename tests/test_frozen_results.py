"""What no change of the inside may change: results of searches, and files that version 0.1.0 wrote.

All of it is asked through the command line, so that nothing here knows how the package is built inside.
The data lie in `data/frozen`, where `make.py` tells how they were written.
"""

import hashlib
import html
import json
import lzma
import math
import platform
import re
import shutil
from pathlib import Path

import pytest
from commanding import TINY, run

pytestmark = pytest.mark.usefixtures("quick_measuring")

FROZEN = Path(__file__).parent / "data" / "frozen"
MULTI = "nse-19-mini:resolution=8,width=0.1,branches=2"
CELLS = "autospace-mini:resolution=8,width=0.1"
BITS = "spos-resnet18-bits-mini:width=0.1,resolution=8"
STAGED = "nss-expanded-mini:resolution=8,widths=16,depths=4"
QUICK = [
    "--batch", "2", "--supernet-epochs", "1", "--retrain-epochs", "1",
    "--set", "finalists=2", "--set", "calibration_images=64",
]  # fmt: skip
GENERATIONS = ["--population", "4", "--generations", "2"]


def changed(group, *values):
    """The options that change hyper-parameters of a group."""
    return [part for value in values for part in ("--set", f"{group}.{value}")]


# Every constraint is on what is counted: what is found must not depend on how long anything took.
SEARCHES = {
    "spos": ["--space", TINY, "--constraint", "macs<=150k", *GENERATIONS],
    "random": ["--space", TINY, "--constraint", "macs<=150k", "--evaluations", "8"],
    "evolution": ["--space", TINY, "--constraint", "macs<=150k", "--evaluations", "12", *GENERATIONS],
    "guided": [
        "--space", TINY, "--constraint", "macs<=150k", "--evaluations", "12", *changed("guidance", "first=4"),
    ],
    "pcnas": ["--space", TINY, "--constraint", "macs<=150k", *changed("pcnas", "pool=2", "draws=3")],
    "proxyless": ["--space", TINY, "--constraint", "macs<=150k"],
    "nse": [
        "--space", MULTI, "--constraint", "macs<=700k",
        *changed("nse", "candidates=3", "samples=6", "beyond=2", "rounds=2"),
    ],
    "nss": [
        "--space", STAGED, "--constraint", "macs<=1M", *GENERATIONS,
        *changed("nss", "depth_bin=2", "width_bin=4", "drawn=2"),
    ],
    "autospace": [
        "--space", "autospace-mini:resolution=8,width=0.25", "--constraint", "macs<=400k", *GENERATIONS,
        # In this order: each is checked when it is set, and the teams may not be larger than the population.
        *changed("autospace", "first_team=2", "last_team=3", "population=6", "cells=2"),
        *changed("autospace", "warmup=1", "evolution=1", "frequency=10", "reference_epochs=1"),
    ],
    "bits": ["--algorithm", "spos", "--space", BITS, "--constraint", "bitops<=600k", *GENERATIONS],
}  # fmt: skip
SUPERNET_TRAIN = ["supernet", "train", "--space", CELLS, "--epochs", "1"]
# A search of the supernet that version 0.1.0 trained so.
FROM_OLD_SUPERNET = ["search", "--space", CELLS, "--constraint", "macs<=330k", *GENERATIONS, *QUICK]
# Finished runs of version 0.1.0. The first is under a latency, which any machine keeps: it can go on.
RUNS = {
    "spos": ["--space", CELLS, "--constraint", "latency=50ms", "--constraint", "macs<=330k", *GENERATIONS],
    "nse": SEARCHES["nse"],
    "pcnas": SEARCHES["pcnas"],
    "proxyless": SEARCHES["proxyless"],
    "bits": SEARCHES["bits"],
}
# What a report and a search of the same settings read.
RUN_FILES = (
    "settings.json", "costs.json", "result.json", "story.json", "evaluations.jsonl", "finalists.json",
    "architecture.json", "space.json", "winner_costs.json",
)  # fmt: skip
PLACE = ["--batch", "2"]


def search_args(name, options):
    """The command of a case, but for its folder."""
    return ["search", *([] if "--algorithm" in options else ["--algorithm", name]), *options, *QUICK]


def facts_of_numbers():
    """What the last digits of a training depend on."""
    import numpy
    import torch

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    vendors = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        # The libraries of matrix products choose by it too.
        "cpu_vendor": vendors[0] if vendors else platform.machine(),
    }


def read_json(path):
    """A JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def journal(run_folder):
    """The evaluations of a run in their order, without how long they took."""
    lines = (run_folder / "evaluations.jsonl").read_text().splitlines()
    return [[e["codes"], e["value"], e["tie_break"]] for e in map(json.loads, lines)]


def digest(document):
    """A digest of a JSON document, however it is laid out."""
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def summary(folder):
    """What a finished run found, without anything that was timed."""
    result = read_json(folder / "result.json")
    story, learned = folder / "story.json", folder / "space.json"
    return {
        "codes": result["codes"],
        "space": result["space"],
        "searched_space": result["searched_space"],
        "space_size": result["space_size"],
        "space_digest": read_json(folder / "settings.json")["space_digest"],
        "supernet": result["supernet"],
        "feasible_count": result["feasible_count"],
        "evaluations": journal(folder),
        "supernet_top1": result["supernet_top1"],
        "retrained_top1": result["retrained_top1"],
        "params": result["params"],
        "macs": result["macs"],
        "budget": result["budget"],
        "finalists": [finalist["codes"] for finalist in result.get("finalists", [])],
        "baselines": {name: [row["codes"], row["top1"]] for name, row in result["baselines"].items()},
        "story": digest(read_json(story)) if story.exists() else None,
        "learned_space": read_json(learned)["spec"] if learned.exists() else None,
    }


@pytest.fixture(scope="module")
def measured_home(tmp_path_factory):
    """A home that the searches share: operators and supernets that several need are made once."""
    return tmp_path_factory.mktemp("frozen") / "home"


@pytest.fixture
def alike(measured_home, monkeypatch):
    """One thread, as when the results were recorded: several threads add in another order."""
    import torch

    monkeypatch.setenv("NASCLI_HOME", str(measured_home))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def recorded():
    """The recorded results, and on what they were recorded."""
    return read_json(FROZEN / "results.json")


def unpacked(name, folder):
    """A file of the data without its compression, in a test's folder."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(lzma.decompress((FROZEN / f"{name}.xz").read_bytes()))
    return path


def check_structure(found, old):
    """What holds of a result on every machine."""
    assert found.keys() == old.keys()
    if found["learned_space"] is None:
        exact = ("searched_space", "space_size", "space_digest", "feasible_count")
        assert {key: found[key] for key in exact} == {key: old[key] for key in exact}
    assert found["codes"] in [codes for codes, _, _ in found["evaluations"]]
    assert all(math.isfinite(value) for _, value, _ in found["evaluations"])
    assert len(found["finalists"]) == len(old["finalists"])
    assert found["baselines"].keys() == old["baselines"].keys()
    assert 0 <= found["retrained_top1"] <= 1
    for row, before in zip(found["budget"], old["budget"], strict=True):
        assert {**row, "value": None} == {**before, "value": None}
        assert row["value"] <= row["high"]


def check_results(found, old, recorded_on):
    """A result is the recorded one; where numbers may come out otherwise, it has its structure."""
    check_structure(found, old)
    here = facts_of_numbers()
    if here != recorded_on:
        differing = [
            f"{name} was {was}, is {here[name]}" for name, was in recorded_on.items() if was != here[name]
        ]
        pytest.skip(
            f"only the structure was compared, figures may come out otherwise here: {', '.join(differing)}"
        )
    assert found == old


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_finds_what_it_found(tmp_path, alike, recorded, name):
    run(*search_args(name, SEARCHES[name]), "--out", tmp_path / "run")
    check_results(summary(tmp_path / "run"), recorded["searches"][name], recorded["recorded_on"])


def test_an_old_supernet_is_searched(tmp_path, alike, recorded):
    file = unpacked("supernet.safetensors", tmp_path)
    run(*FROM_OLD_SUPERNET, "--supernet", file, "--out", tmp_path / "run")
    found = summary(tmp_path / "run")
    check_results(found, recorded["searches"]["old supernet"], recorded["recorded_on"])


def test_an_old_supernet_is_not_trained_again(tmp_path):
    file = unpacked("supernet.safetensors", tmp_path)
    trained = json.loads(run(*SUPERNET_TRAIN, "--out", file, "--json").stdout)
    assert trained["reused"]
    assert trained["identity"] == read_json(FROZEN / "results.json")["searches"]["old supernet"]["supernet"]


def said_of_table(store, architecture):
    """What commands say of a store with one table, and of a network by it.

    The table is named by its device's key: 'cpu' would mean the machine that this runs on.
    """
    tables = json.loads(run("lut", "list", "--store", store, "--json").stdout)
    place = ["--store", store, "--device", tables[0]["device"], *PLACE, "--json"]
    rows = json.loads(run("lut", "show", *place, "--networks").stdout)
    return {
        "list": tables,
        "show": [without(row, "shown") for row in rows],
        "operators": [row["key"] for row in json.loads(run("lut", "show", *place).stdout)],
        "predict": json.loads(run("predict", architecture, *place).stdout),
    }


def without(document, name):
    """A document but for one of its entries."""
    return {key: value for key, value in document.items() if key != name}


def close(found):
    """A document as it is expected to come again: sums may differ in their last digits on another machine."""
    if isinstance(found, dict):
        return {key: close(value) for key, value in found.items()}
    if isinstance(found, list):
        return [close(value) for value in found]
    return pytest.approx(found, rel=1e-9) if isinstance(found, float) else found


@pytest.fixture(scope="module")
def expected():
    """What version 0.1.0 said of its table."""
    return read_json(FROZEN / "expected.json")


def test_an_old_store_is_read(tmp_path, expected):
    store = unpacked("store.sqlite", tmp_path)
    said = said_of_table(store, FROZEN / "finished" / "spos" / "architecture.json")
    assert said.keys() == expected.keys()
    for name, document in expected.items():
        assert said[name] == close(document), name
    assert said["predict"]["kind"] == "calibrated"


def test_an_old_pack_is_imported(tmp_path, expected):
    store = tmp_path / "fresh.sqlite"
    (imported,) = json.loads(run("lut", "import", FROZEN / "pack.parquet", "--store", store, "--json").stdout)
    assert imported["new"] == imported["samples"] > 0
    said = said_of_table(store, FROZEN / "finished" / "spos" / "architecture.json")
    assert said["predict"]["table_digest"] == expected["predict"]["table_digest"]
    assert said["list"] == expected["list"] and said["operators"] == expected["operators"]
    assert said["show"] == close(expected["show"])
    # It is the same table: what the store has is not new.
    old = unpacked("store.sqlite", tmp_path)
    (again,) = json.loads(run("lut", "import", FROZEN / "pack.parquet", "--store", old, "--json").stdout)
    assert again["new"] == 0


def copied_run(name, folder):
    """A copy of an old run that may be written to, and its result."""
    copy = folder / name
    shutil.copytree(FROZEN / "finished" / name, copy)
    return copy, read_json(copy / "result.json")


def drawn(page):
    """What a report's drawing tells of the winner's blocks: each one's place, operator, output and cost."""
    drawing = page.partition('aria-label="the network, block by block"')[2].partition("</svg>")[0]
    return [html.unescape(tip) for tip in re.findall(r"<title>(.*?)</title>", drawing)]


# By which words a page shows how its algorithm went.
PICTURES = {
    "spos": "What good architectures have in common",
    "nse": "Fitness indicators",
    "pcnas": "How the pool grew",
    "proxyless": "What the gradient chose",
    "bits": "bitops",
}


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_has_a_report(tmp_path, name):
    folder, result = copied_run(name, tmp_path)
    run("report", folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and result["algorithm"] in page
    assert all(row["cost"] in page for row in result["budget"])
    counted = json.loads(run("count", folder / "architecture.json", "--json").stdout)
    assert counted["macs"] == result["macs"] and counted["params"] == result["params"]
    assert drawn(page) == read_json(FROZEN / "drawn.json")[name]
    assert PICTURES[name] in page


@pytest.mark.parametrize("name", RUNS)
def test_an_old_run_is_complete(tmp_path, name):
    folder, result = copied_run(name, tmp_path)
    # Its settings are those of the same command now, so nothing is searched.
    before = (folder / "settings.json").read_bytes()
    again = run(*search_args(name, RUNS[name]), "--out", folder, "--json")
    # Lines are broken at the terminal's width.
    assert "is complete" in " ".join(again.stderr.split()) and json.loads(again.stdout) == result
    assert (folder / "settings.json").read_bytes() == before
    assert (folder / "report.html").exists()


def test_an_old_run_that_was_killed_goes_on(tmp_path, alike):
    folder, result = copied_run("spos", tmp_path)
    (folder / "result.json").unlink()
    journal_before = (folder / "evaluations.jsonl").read_bytes()
    found = json.loads(run(*search_args("spos", RUNS["spos"]), "--out", folder, "--json").stdout)
    # What was evaluated, frozen and verified is taken as it is; only networks are trained and measured again.
    assert (folder / "evaluations.jsonl").read_bytes() == journal_before
    same = (
        "codes", "space", "supernet", "feasible_count", "macs", "params", "predicted_latency_s", "finalists",
    )  # fmt: skip
    assert {key: found[key] for key in same} == {key: result[key] for key in same}
