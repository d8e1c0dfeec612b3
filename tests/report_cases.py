"""A result, its summary, evaluations, and blocks for tests of pages."""

from nascli.report.charts import PlottedEvaluation
from nascli.report.network_drawing import DrawnBlock
from nascli.report.run_summary import RunSummary


def result(**changes):
    contender = {
        "top1": 0.9,
        "top1_interval": [0.8, 0.95],
        "measured_latency_s": 5e-3,
        "measured_interval_s": [4.9e-3, 5.1e-3],
        "predicted_latency_s": 5e-3,
        "macs": 10,
        "params": 10,
        "within_budget": True,
    }
    document = {
        "space": "s", "space_size": "12", "data": "digits", "algorithm": "spos", "constraints": ["latency=8ms"],
        "budget": [{"cost": "latency", "device": "cpu", "here": True, "low": None, "high": 8e-3, "value": 7e-3, "kind": "measured"}], "measured_latency_s": 7e-3,
        "measured_interval_s": [6.9e-3, 7.1e-3], "retrained_top1": 0.93, "retrained_top1_interval": [0.9, 0.95],
        "macs": 1_000_000, "params": 1000, "evaluations": 2, "supernet_top1": 0.9, "supernet": "abc",
        "predicted_latency_s": {"value": 7.2e-3, "kind": "measured", "model": "sum",
                                "setup": {"device": "cpu-x", "mode": "", "runtime": "ort-cpu", "runtime_version": "1", "batch": 16}},
        "finalists": [contender], "baselines": {"random": contender, "largest": contender}, "codes": [0],
        "table_digest": "d", "seed": 0, "versions": {"nascli": "0"}, "export_max_difference": 1e-6,
    }  # fmt: skip
    return {**document, **changes}


def summary(**changes):
    return RunSummary.from_json(result(**changes))


EVALUATED = [PlottedEvaluation(6e-3, 0.8, "mbconv a"), PlottedEvaluation(7e-3, 0.9, "mbconv b")]
BLOCKS = [
    DrawnBlock("stem", "conv", "1x1x1", 1, 1e-3, 5, False),
    DrawnBlock("l", "skipped", "1x1x1", 1, 0.0, 0, True),
]
