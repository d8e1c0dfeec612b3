from report_cases import result, summary

from nascli.report.comparison_page import ComparedRun, render_comparison


def compared(name, **changes):
    run = summary(**changes)
    return ComparedRun(name, run, run.latency)


def test_runs_are_shown_beside_each_other():
    page = render_comparison([compared("first"), compared("<second>", retrained_top1=0.91, seed=7)])
    assert "2 runs compared" in page and "compare with care" not in page
    assert "first: 7.00 ms, 93.00%" in page and "first, random: 5.00 ms, 90.00%" in page
    assert "&lt;second&gt;" in page and "<second>" not in page and "seed 7" in page


def test_runs_that_differ_in_more_than_the_search_are_told():
    setup = {**result()["predicted_latency_s"], "setup": {"device": "another", "batch": 1}}
    page = render_comparison([compared("a"), compared("b", data="mnist", predicted_latency_s=setup)])
    assert "The runs differ in device and setup and data: compare with care." in page
