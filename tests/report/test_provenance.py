from report_cases import BLOCKS, EVALUATED, result, summary

from nascli.report.provenance import agreement_text, budget_rows, provenance_rows
from nascli.report.run_page import render_run
from nascli.report.run_summary import RunSummary


def test_reasons_are_told_as_far_as_they_were_recorded():
    seen = {
        "models": 80, "settled": 71, "half_interval": 0.004, "halves_apart": None, "throttled": 0, "taken": ["2026-01-01", "2026-01-02"],
        "device": {"model": "A CPU"}, "rounds": 12, "elsewhere_cores": None, "steal": 0.01, "cpu_pressure": None,
    }  # fmt: skip
    page = render_run(summary(evidence=seen, measured_again_s=7.07e-3), EVALUATED, BLOCKS)
    for text in ("71 of 80", "±0.4%", "unknown", "+1.0%", "1 of 1", "2026-01-01 to 2026-01-02", "A CPU"):
        assert text in page, text


def test_the_model_s_error_by_hand():
    document = result(
        finalists=[{**result()["finalists"][0], "predicted_latency_s": 5.5e-3}], baselines={"random": result()["finalists"][0]}
    )  # fmt: skip
    document["baselines"]["random"]["top1"] = 0.5
    run = RunSummary.from_json(document)
    assert (
        agreement_text(run, run.latency)
        == "Over 2 whole networks the model was off by 5.0% on average, 10.0% at most."
    )


def test_budgets_that_are_not_shown_to_be_kept():
    budget = result()["budget"][0]
    low, unknown, kept = budget_rows(
        summary(budget=[{**budget, "low": 7.5e-3}, {**budget, "value": None}, budget])
    )
    assert not low["kept"] and low["bound"] == "at least 7.50 ms and at most 8.00 ms"
    assert not unknown["kept"] and unknown["value"] == "-"
    assert kept["kept"] and kept["what"] == "latency on cpu" and kept["kind"] == "measured"


def test_everything_that_figures_depend_on_is_listed():
    rows = dict(provenance_rows(summary(finished_on="2026-01-02")))
    assert rows["setup"] == "device cpu-x, runtime ort-cpu, runtime_version 1, batch 16"
    assert rows["space"] == "s, 12 architectures" and rows["codes"] == "[0]" and rows["seed"] == "0"
    assert rows["finished on"] == "2026-01-02" and rows["versions"] == "nascli 0"
