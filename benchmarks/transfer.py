"""Latencies of a device with few measurements from those of other devices, on published tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from benchmarks._gpu_tables import data_folder
from benchmarks._report import Target, parse_arguments, write
from nascli.costmodel.transfer import nearest_device, transfer

NOTES = """
Each device in turn is the new one. The latencies of 10 (25, 50) random networks on it are known, and the figure is
Spearman's rank correlation over 2,500 other networks: the mean over devices and draws (the spread is over draws of the
mean over devices). ours: `nascli.costmodel.transfer`. Its few constants were chosen on NAS-Bench-201 itself, so the
spaces of FBNet and OFA (HELP's measurements) are the fair test of them. nearest: the known device that correlates best
on the samples. MACs: of the network, where the table has them. HELP's published mean is 0.932 at 10 samples. Family
out: devices of the same family (1080ti_1, 1080ti_32, ...) are not known.
"""


def family(column: str) -> str:
    for name in (
        "1080ti",
        "2080ti",
        "titan_rtx",
        "titanx",
        "gold_62",
        "silver_42",
        "v100",
        "pixel",
        "samsung",
    ):
        if name in column:
            return name
    return column


def one_hot(columns: list[pd.Series]) -> np.ndarray:
    return np.concatenate([pd.get_dummies(column).to_numpy(float) for column in columns], axis=1)


def tables(folder):
    rows = pd.read_csv(folder / "nasbench201" / "nasbench201.csv.gz")
    operators = rows.arch_str.str.findall(r"([a-z_0-9]+)~").tolist()
    yield "nasbench201", rows, one_hot([pd.Series([r[i] for r in operators]) for i in range(6)]), rows.flops_m.to_numpy(float)  # fmt: skip
    rows = pd.read_csv(folder / "help_latency" / "fbnet_latency.csv.gz")
    parts = rows.op_idx.str.split("-", expand=True)
    yield "fbnet", rows, one_hot([parts[c] for c in parts]), None
    rows = pd.read_csv(folder / "help_latency" / "ofa_latency.csv.gz")
    parts = pd.concat([rows[c].str.split("-", expand=True) for c in ("ks", "e", "d")], axis=1)
    parts.columns = range(parts.shape[1])
    yield (
        "ofa",
        rows,
        np.c_[one_hot([parts[c] for c in parts]), rows.r.to_numpy(float)],
        rows.r.to_numpy(float),
    )


def study(rows, features, macs, samples: int, draws: int, families: bool, size: int) -> dict[str, np.ndarray]:
    """Per way the mean over devices of the rank correlation, one figure per draw; and the interval's coverage."""
    columns = [c for c in rows if c.startswith("lat_")]
    chosen = np.random.default_rng(1).choice(len(rows), min(size, len(rows)), replace=False)
    latency, features = rows[columns].to_numpy(float)[chosen], features[chosen]
    found: dict[str, list[list[float]]] = {"ours": [], "nearest": [], "covered": []}
    if macs is not None:
        found["MACs"] = []
    for draw in range(draws):
        rng = np.random.default_rng([2, draw])
        here: dict[str, list[float]] = {name: [] for name in found}
        for index, column in enumerate(columns):
            known = [
                i for i, c in enumerate(columns)
                if i != index and not (families and family(c) == family(column))
            ]  # fmt: skip
            if not known:
                continue
            measured = rng.choice(len(chosen), samples, replace=False)
            rest = np.setdiff1d(np.arange(len(chosen)), measured)
            truth = latency[:, index]
            given = transfer(latency[:, known], features, measured, truth[measured])
            near, _ = nearest_device(latency[:, known], measured, truth[measured])
            low, high = given.interval()
            here["ours"].append(spearmanr(given.seconds[rest], truth[rest]).statistic)
            here["nearest"].append(spearmanr(latency[rest, known[near]], truth[rest]).statistic)
            here["covered"].append(float(np.mean((low <= truth)[rest] & (truth <= high)[rest])))
            if macs is not None:
                here["MACs"].append(spearmanr(macs[chosen][rest], truth[rest]).statistic)
        for name, values in here.items():
            found[name].append(values)
    return {name: np.array([np.mean(v) for v in values]) for name, values in found.items()}


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    folder = data_folder()
    if folder is None:
        if not quick:
            raise SystemExit("the tables are not here: set NASCLI_DATA")
        write("transfer", ["what"], [["no tables here: set NASCLI_DATA"]], [], NOTES, True)
        return
    rows, means = [], {}
    for name, table, features, macs in tables(folder):
        for samples, families in ((10, False), (10, True), (25, False), (50, False)):
            if quick and (samples > 10 or families):
                continue
            found = study(
                table, features, macs, samples, 1 if quick else 10, families, 200 if quick else 2500
            )
            for way, values in found.items():
                where = "family out" if families else "device out"
                spread = f"{values.mean():.4f} [{values.min():.4f}, {values.max():.4f}]"
                label = "90 % interval covers" if way == "covered" else way
                rows.append([name, str(samples), where, label, spread])
                means[name, samples, families, way] = float(values.mean())
    targets = [
        Target("nasbench201, device out, 10 samples", means["nasbench201", 10, False, "ours"], 0.965, True)
    ]
    if not quick:
        targets.append(
            Target("nasbench201, family out, 10 samples", means["nasbench201", 10, True, "ours"], 0.955, True)
        )
    write("transfer", ["table", "samples", "known", "way", "rank correlation"], rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
