import json
import re

import pytest
from commanding import QUICK, TINY, run

from nascli.units import parse_quantity

LEARNED = {
    "nss": ["nss.depth_bin=2", "nss.width_bin=4", "nss.drawn=2"],
    "autospace": [
        "autospace.cells=2", "autospace.population=6", "autospace.first_team=2", "autospace.last_team=3",
        "autospace.warmup=1", "autospace.evolution=1", "autospace.frequency=10", "autospace.reference_epochs=1",
        "autospace.mutants=1.0",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("quick_measuring")
@pytest.mark.parametrize(
    ("algorithm", "space"),
    [
        ("nss", "nss-expanded-mini:resolution=8,widths=16"),
        ("autospace", "autospace-mini:resolution=8,width=0.25"),
    ],
)
def test_learned_spaces_are_searched_to_a_verified_winner(tmp_path, algorithm, space):
    small = [*QUICK, "--set", "finalists=2", *(w for text in LEARNED[algorithm] for w in ("--set", text))]
    args = [
        "search", "--algorithm", algorithm, "--space", space, "--constraint", "macs<=1M", "--batch", "2",
        "--out", tmp_path / "run", *small,
    ]  # fmt: skip
    result = json.loads(run(*args, "--json").stdout)
    learned = json.loads((tmp_path / "run" / "space.json").read_text())
    assert result["space"] == learned["spec"] and result["macs"] <= 1_000_000
    assert json.loads(run(*args, "--json").stdout) == result
    assert (
        json.loads(run("count", tmp_path / "run" / "architecture.json", "--json").stdout)["macs"]
        == result["macs"]
    )


@pytest.mark.usefixtures("quick_measuring")
def test_spaces_that_cannot_be_learned(tmp_path):
    for args, text in (
        (["--algorithm", "nss", "--space", "nss-expanded-mini", "--batch", "2"], "none of 50.0 ms"),
        (
            ["--algorithm", "nss", "--space", TINY],
            "needs a space of depths and widths, and proxyless-mini is a single-path space",
        ),
        (["--algorithm", "autospace", "--space", TINY], "has no cells"),
    ):
        result = run(
            "search",
            "--constraint",
            "latency=50ms",
            "--out",
            tmp_path / args[1] / args[3][:4],
            *args,
            expect=1,
        )
        assert text in result.stderr


def test_a_space_is_learned_for_a_latency(tmp_path):
    def search(budget, out, expect):
        return run(
            "search", "--algorithm", "nss", "--space", "nss-expanded-mini:resolution=8,widths=16,depths=4", "--constraint", budget,
            "--batch", "4", "--out", out, "--supernet-epochs", "1", *QUICK[:4], "--retrain-epochs", "1", "--json", expect=expect,
        )  # fmt: skip

    refused = search("latency=20s", tmp_path / "no", 1)
    assert "none of 20.0 s" in refused.stderr and "Choose a target in between" in refused.stderr
    # The refusal tells the range; between its ends there are networks.
    low, high = re.search(r"networks of (\S+ \S+) to (\S+ \S+), none", refused.stderr).groups()
    budget = 0.2 * parse_quantity(low, "time") + 0.8 * parse_quantity(high, "time")
    result = json.loads(search(f"latency={budget * 1e6:.1f}us", tmp_path / "yes", 0).stdout)
    assert result["measured_interval_s"][1] <= budget and result["space"].startswith("nss-elite:")
    learned = json.loads((tmp_path / "yes" / "space.json").read_text())
    assert learned["cost"] == "latency" and learned["mean_cost"] > 0
