from report_cases import BLOCKS, EVALUATED, result, summary

from nascli.report.network_drawing import DrawnBlock
from nascli.report.run_page import render_run
from nascli.report.run_summary import RunSummary


def test_the_page_says_the_answer_first_and_loads_nothing():
    page = render_run(summary(), EVALUATED, BLOCKS)
    body = page[page.index("<body") :]
    answer = body.index("7.00 ms measured for latency=8ms: 93.00% top-1")
    assert (
        answer < body.index("Budgets") < body.index("Convergence") < body.index("Where the figures come from")
    )
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page
    assert page.count("<svg") == 4 and "prefers-color-scheme: dark" in page


def test_hostile_names_are_shown_harmless():
    evil = "<script>alert(1)</script>"
    page = render_run(
        summary(space=evil, data=evil, constraints=[evil], algorithm=evil, versions={evil: evil}),
        EVALUATED,
        [DrawnBlock(evil, evil, evil, 1, 1.0, 1, False)],
    )
    assert "<script" not in page and "&lt;script&gt;" in page


def budget(**changes):
    return {
        "cost": "latency",
        "device": "cpu",
        "here": True,
        "low": None,
        "high": 8e-3,
        "value": 7e-3,
        "kind": "measured",
        **changes,
    }


def test_a_search_without_a_latency_bound_has_a_report_too():
    macs = {
        "cost": "macs",
        "device": None,
        "here": True,
        "low": None,
        "high": 2e6,
        "value": 1e6,
        "kind": "counted",
    }
    page = render_run(summary(budget=[macs], constraints=["macs<=2M"]), EVALUATED, BLOCKS)
    assert "1.00M MACs for macs&lt;=2M" in page and 'class="mark"' not in page.split("</style>")[1]
    assert "at most 2.00M macs" in page and "kept" in page


def test_a_bound_on_another_device_is_not_drawn_as_if_it_were_here():
    there = budget(device="v100", here=False, high=1e-3, value=0.9e-3, kind="predicted")
    alone = render_run(summary(budget=[there], constraints=["latency@v100<=1ms"]), EVALUATED, BLOCKS)
    body = alone.split("</style>")[1]
    assert 'class="mark"' not in body and "7.00 ms measured for" not in body
    assert "latency on v100" in body and "900 us" in body and "predicted" in body
    both = render_run(
        summary(budget=[there, budget()], constraints=["latency@v100<=1ms", "latency=8ms"]), EVALUATED, BLOCKS
    )
    assert "budget 8.00 ms" in both and "budget 1.00 ms" not in both


def test_what_a_search_could_not_measure_has_a_page():
    counted = result(
        measured_latency_s=None, costs={"bitops": 4e7, "macs": 1e6, "params": 1e3}, constraints=["bitops<=40M"],
        budget=[budget(cost="bitops", device=None, high=4e7, value=3.9e7, kind="counted")],
        baselines={"random": {"top1": 0.9, "top1_interval": [0.8, 0.95], "costs": {"macs": 5, "params": 6}}},
    )  # fmt: skip
    for gone in ("predicted_latency_s", "measured_interval_s", "export_max_difference", "finalists"):
        del counted[gone]
    blocks = [DrawnBlock("stem", "conv", "1x1x1", 1, 0.0, 5, False)]
    page = render_run(RunSummary.from_json(counted), EVALUATED, blocks, failed=3)
    assert (
        "39.0M bitops for bitops&lt;=40M: 93.00% top-1" in page and "Predicted against measured" not in page
    )
    assert "3 evaluations failed" in page


def test_points_can_be_reached_without_a_mouse():
    page = render_run(summary(), EVALUATED, BLOCKS)
    assert page.count('tabindex="0"') >= 5 and "front: 7.00 ms, 90.00%: mbconv b" in page


COUNTED = {
    "predicted_latency_s": None,
    "finalists": [],
    "constraints": ["macs<=2M"],
    "costs": {"macs": 1e6, "params": 1e3},
    "budget": [
        {
            "cost": "macs",
            "device": None,
            "here": True,
            "low": None,
            "high": 2e6,
            "value": 1e6,
            "kind": "counted",
        }
    ],
    "baselines": {
        "random": {"top1": 0.9, "top1_interval": [0.8, 0.95], "costs": {"macs": 9e5, "params": 900}}
    },
}


def test_a_page_of_a_run_that_measured_nothing_says_how_to_measure():
    page = render_run(summary(**COUNTED, measured_latency_s=None), EVALUATED, BLOCKS)
    assert "Nothing was measured" in page and "Measure model.onnx" in page
    assert ">measured<" not in page and "Predicted against measured" not in page
    assert "share of the MACs" in page
    # A network with low bit widths has no model to measure.
    bits = summary(**COUNTED, measured_latency_s=None, export_max_difference=None)
    assert "model.onnx" not in render_run(bits, EVALUATED, BLOCKS)


def test_a_page_of_a_counted_run_whose_winner_was_measured_shows_it_without_a_model():
    setup = {
        "device": "cpu-x",
        "runtime": "ort-cpu",
        "runtime_version": "1",
        "batch": 4,
        "mode": "",
    }
    run = summary(**COUNTED, setup=setup)
    assert run.latency is None and run.measured.measured == run.winner.measured == 7e-3
    page = render_run(run, EVALUATED, BLOCKS)
    assert "Nothing was measured" not in page and "measured end to end, batch 4" in page
    assert ">measured<" in page and ">predicted<" not in page and "on cpu-x with ort-cpu 1" in page


def test_why_a_budget_is_not_used_stands_beside_the_budgets():
    page = render_run(summary(), EVALUATED, BLOCKS, unused="nothing larger <was> better")
    assert "nothing larger &lt;was&gt; better" in page
