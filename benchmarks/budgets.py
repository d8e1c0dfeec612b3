"""Latency budgets on this CPU: whether the winners of NSE and PC-NAS keep them when they are measured."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks._report import Target, parse_arguments, write
from nascli.costmodel import table_latency
from nascli.errors import InfeasibleError
from nascli.execution import Execution
from nascli.pipeline.measure.profile import profile_models
from nascli.pipeline.measure.subjects import space_subjects
from nascli.pipeline.run.search import run_search
from nascli.pipeline.run.settings import SearchSettings, choose_preset
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import load_space
from nascli.supernet.data.images import space_for_data

NOTES = """
Data: digits at 14x14. ONNX Runtime on the CPU, batch 16, one thread, an empty store. The budgets are quantiles of the
predicted latency of random networks. Each search profiles the operators that the store lacks, searches, measures five
finalists end to end, trains those that keep the budget, and reports the best. A budget is kept if the whole 95 %
interval of the winner's measured latency lies within it.
"""
CASES = (
    ("nse", "nse-19-mini:width=0.5", (0.02, 0.1, 0.3)),
    ("pcnas", "pcnas-small-mini:width=0.5", (0.3,)),
    ("pcnas", "pcnas-large-mini:width=0.5", (0.3,)),
)


def main() -> None:
    quick = parse_arguments(__doc__ or "").quick
    cases = (("pcnas", "proxyless-mini:resolution=8,width=0.25,depth=1", (0.5,)),) if quick else CASES
    fewer = ["finalists=2", "pcnas.pool=2", "pcnas.draws=3", "pcnas.interval=0"] if quick else []
    rows, kept, refused = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        target, execution = TargetSpec(), Execution(store=Path(folder) / "store.sqlite")
        for algorithm, spec, quantiles in cases:
            space = space_for_data(load_space(spec), "digits")
            table = profile_models(
                space_subjects(space, 16),
                target,
                execution,
                protocol=MeasurementProtocol(),
                seed=0,
                progress=Silent(),
            )
            latency = table_latency(space, table, "")
            draws = latency(space.sample(2000, np.random.default_rng(0)))
            for quantile in quantiles:
                budget = float(np.quantile(draws, quantile))
                preset, _ = choose_preset(
                    algorithm,
                    supernet_epochs=1 if quick else 8,
                    retrain_epochs=1 if quick else 4,
                    changes=fewer,
                )
                settings = SearchSettings(
                    spec,
                    "digits",
                    (f"latency<={budget * 1e6:.3f}us",),
                    target,
                    algorithm,
                    preset,
                    execution=execution,
                )
                try:
                    result = run_search(
                        settings, Path(folder) / f"{algorithm}-{len(rows)}", Silent()
                    ).to_json()
                except InfeasibleError as error:
                    # Nothing was handed over: no budget is broken, and none is met.
                    rows.append([algorithm, spec, f"{budget * 1e6:.0f} us ({quantile:.0%})", "-", "refused", "-", str(error).split(";")[0], "-"])  # fmt: skip
                    refused += 1
                    continue
                low, high = result["measured_interval_s"]
                kept.append(high <= budget)
                off = result["predicted_latency_s"]["value"] / result["measured_latency_s"] - 1
                rows.append(
                    [
                        algorithm, spec, f"{budget * 1e6:.0f} us ({quantile:.0%})",
                        f"{result['predicted_latency_s']['value'] * 1e6:.0f} us",
                        f"{result['measured_latency_s'] * 1e6:.0f} [{low * 1e6:.0f}, {high * 1e6:.0f}] us",
                        f"{off:+.1%}", f"{sum(f['within_budget'] for f in result['finalists'])} of {len(result['finalists'])}",
                        f"{result['retrained_top1']:.1%}",
                    ]
                )  # fmt: skip
    columns = [
        "algorithm",
        "space",
        "budget",
        "predicted",
        "measured",
        "off",
        "finalists within",
        "test top-1",
    ]
    targets = [
        Target("winners within their budget on the device", float(np.mean(kept or [1.0])), 1.0, True),
        Target("searches that ended without a winner", refused, 0, False),
    ]
    write("budgets", columns, rows, targets, NOTES, quick)


if __name__ == "__main__":
    main()
