import json

import pytest
from commanding import MULTI, QUICK, SINGLE, TINY, run

SMALL = ["--supernet-epochs", "1", "--retrain-epochs", "1", "--set", "finalists=2"]
NSE = ["nse.candidates=3", "nse.samples=6", "nse.beyond=2"]


def changed(*texts):
    return [word for text in texts for word in ("--set", text)]


@pytest.fixture(scope="module")
def measured_home(tmp_path_factory):
    """A home that searches of one space share, so that its operators are measured once."""
    return tmp_path_factory.mktemp("home")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "space", "limit", "settings"),
    [("pcnas", SINGLE, "macs<=400k", ["pcnas.pool=2", "pcnas.draws=3", "pcnas.interval=0"]),
     ("nse", MULTI, "macs<=700k", [*NSE, "nse.rounds=2"]),
     ("guided", SINGLE, "macs<=400k", ["guided.evaluations=10", "guided.first=4"]),
     ("proxyless", SINGLE, "macs<=400k", [])],
)  # fmt: skip
def test_every_algorithm_ends_in_a_verified_network_and_a_report(
    tmp_path, monkeypatch, measured_home, algorithm, space, limit, settings
):
    monkeypatch.setenv("NASCLI_HOME", str(measured_home))
    args = [
        "search", "--algorithm", algorithm, "--space", space, "--constraint", "latency=50ms",
        "--constraint", limit, "--batch", "2", "--out", tmp_path / "run", *SMALL, *changed(*settings),
    ]  # fmt: skip
    if algorithm == "nse":
        args[args.index("--constraint") : args.index("--constraint") + 2] = ["--constraint", "latency=60ms"]
    result = json.loads(run(*args, "--json").stdout)
    assert result["algorithm"] == algorithm and result["measured_interval_s"][1] <= 0.06
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.startswith("<!doctype html>") and algorithm in page
    again = json.loads(run(*args, "--json").stdout)
    assert again == result
    file = tmp_path / "run" / "architecture.json"
    predicted = json.loads(run("predict", file, "--batch", "2", "--json").stdout)
    assert predicted["latency_s"] == pytest.approx(result["predicted_latency_s"]["value"], rel=0.05)
    shares = [part["share"] for part in predicted["parts"]]
    assert sum(shares) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_measuring")
def test_nse_under_counted_budgets_fills_them_and_goes_on_in_a_second_space(tmp_path):
    small = [*SMALL, *changed(*NSE, "nse.rounds=1", "nse.fitness.start=0.3")]
    size = "resolution=8,width=0.5,branches=2"
    first = [
        "search",
        "--algorithm",
        "nse",
        "--space",
        f"nse-27-mini:{size}",
        "--batch",
        "2",
        *small,
        "--constraint",
    ]
    result = json.loads(run(*first, "macs<=2M", "--out", tmp_path / "a", "--json").stdout)
    # The budget is a binding one, and the winner's widths are as wide as it allows.
    assert 1.2e6 < result["macs"] <= 2e6 and result["space"] != result["searched_space"]
    (bound,) = result["budget"]
    assert bound["value"] == result["macs"] and bound["kind"] == "counted"
    assert "Round 1" in (tmp_path / "a" / "report.html").read_text()
    kept = json.loads((tmp_path / "a" / "story.json").read_text())["rounds"][-1]
    second = [
        "search", "--algorithm", "nse", "--space", f"nse-second-mini:{size}", "--batch", "2", "--constraint", "macs<=2M",
        "--after", tmp_path / "a", *small,
    ]  # fmt: skip
    run(*second, "--out", tmp_path / "b")
    rounds = json.loads((tmp_path / "b" / "story.json").read_text())["rounds"]
    assert [len(held) for held in rounds[0]["inherited"]] == [len(held) for held in kept["aggregated"]]
    # The first space's front came along and was judged again.
    assert sum(point["rehearsed"] for point in rounds[0]["evaluated"]) == len(kept["front"])
    other = [
        "search",
        "--algorithm",
        "nse",
        "--space",
        "nse-second-mini",
        "--constraint",
        "macs<=2M",
        "--after",
    ]
    assert "no finished search by NSE" in run(*other, tmp_path / "none", expect=1).stderr


@pytest.mark.slow
@pytest.mark.usefixtures("quick_measuring")
def test_few_bits_are_swept_and_have_a_page(tmp_path):
    space = "spos-resnet18-bits-mini:width=0.25,resolution=8"
    args = [
        "sweep",
        "--budget",
        "bitops<=1M",
        "--budget",
        "bitops<=2M",
        "--space",
        space,
        *QUICK,
        "--out",
        tmp_path / "s",
    ]
    rows = json.loads(run(*args, "--json").stdout)
    assert [row["measured_latency_s"] for row in rows] == [None, None] and rows[0]["macs"] > 0
    pages = list((tmp_path / "s").glob("*/report.html"))
    assert len(pages) == 2 and "bitops" in pages[0].read_text()
    refused = run(
        "search", "--space", space, "--constraint", "bitops<=1M", "--confidence", "0.9", *QUICK, expect=1
    )
    assert "counted budgets are exact" in refused.stderr


def test_what_an_algorithm_does_not_take_is_refused_at_once(tmp_path):
    for flags, message in (
        (["--supernet", "x.safetensors"], "trains its own"),
        (["--ray", "auto"], "between steps of its training"),
    ):
        refused = run(
            "search", "--algorithm", "pcnas", "--space", SINGLE, "--constraint", "macs<=1M", *flags, expect=1
        )
        assert message in refused.stderr
    multi = run("search", "--algorithm", "proxyless", "--space", MULTI, "--constraint", "macs<=1M", expect=1)
    assert "single-path" in multi.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("quick_measuring")
def test_a_supernet_of_its_own_command_and_a_sweep_over_budgets(tmp_path):
    file = tmp_path / "net.safetensors"
    trained = json.loads(
        run("supernet", "train", "--space", TINY, "--epochs", "1", "--out", file, "--json").stdout
    )
    assert trained["steps"] > 0 and not trained["reused"]
    assert json.loads(
        run("supernet", "train", "--space", TINY, "--epochs", "1", "--out", file, "--json").stdout
    )["reused"]
    binned = tmp_path / "binned.safetensors"
    window = ["supernet", "train", "--space", TINY, "--epochs", "1", "--out", binned, "--within"]
    other = json.loads(run(*window, "150k<=macs<=300k", "--json").stdout)
    assert other["identity"] != trained["identity"]
    assert "Write both ends" in run(*window[:-2], tmp_path / "x", "--within", "macs<=1M", expect=1).stderr
    rows = json.loads(
        run(
            "sweep", "--budget", "latency=20ms", "--budget", "macs<=300k", "--space", TINY, "--batch", "4",
            "--supernet", file, "--out", tmp_path / "runs", *QUICK, "--json",
        ).stdout
    )  # fmt: skip
    assert [row["budget"] for row in rows] == ["latency=20ms", "macs<=300k"]
    assert rows[1]["macs"] <= 300_000 and all((tmp_path / "runs").glob("*/report.html"))
    other = run(
        "search", "--constraint", "latency=20ms", "--space", SINGLE, "--supernet", file, "--batch", "4",
        "--out", tmp_path / "x", *QUICK, expect=1,
    )  # fmt: skip
    assert "does not fit" in other.stderr


def test_a_card_without_a_table_is_predicted_and_says_so(tmp_path):
    from nascli.spaces import Architecture, load_space

    space = load_space("proxyless-mini")
    file = tmp_path / "a.json"
    Architecture.of(space, [0] * len(space.layers), "a").save(file)
    document = json.loads(run("predict", file, "--device", "titanxp", "--json").stdout)
    assert document["kind"] == "predicted" and document["interval_s"][0] < document["latency_s"]
    assert sum(part["share"] for part in document["parts"]) == pytest.approx(1)
    assert "predicted, not measured" in run("predict", file, "--device", "titanxp").stdout
    refused = run("predict", file, "--device", "titanxp", "--precision", "fp16", expect=1)
    assert "no peak for fp16" in refused.stderr


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--algorithm", "nse", "--space", TINY], "single-path"),
        (["--algorithm", "pcnas", "--space", MULTI], "multi-branch"),
        (["--preset", "huge"], "unknown preset"),
        (["--data", "fashion-mnist:nowhere", "--space", TINY], "Fashion-MNIST is not in nowhere"),
    ],
)
def test_searches_that_cannot_be(tmp_path, args, text):
    result = run("search", "--constraint", "latency=50ms", "--out", tmp_path / "x", *args, expect=1)
    assert text in result.stderr


@pytest.mark.slow
def test_mixed_precision_is_searched_under_bitops(tmp_path):
    space = "spos-resnet18-bits-mini:width=0.25,resolution=8"
    args = [
        "search", "--space", space, "--constraint", "bitops<=1M", "--out", tmp_path / "run", *QUICK,
    ]  # fmt: skip
    result = json.loads(run(*args, "--json").stdout)
    assert result["measured_latency_s"] is None and result["costs"]["bitops"] <= 1e6
    assert json.loads(run(*args, "--json").stdout) == result
    assert (
        "bitops" in run(*args).stdout.lower()
        and (tmp_path / "run" / "weights.safetensors").stat().st_size > 0
    )
    assert "bitops" in (tmp_path / "run" / "report.html").read_text()
    refused = run(
        "search", "--space", space, "--constraint", "latency=5ms", "--out", tmp_path / "x", *QUICK, expect=1
    )
    assert "bit widths" in refused.stderr and "bitops<=" in refused.stderr
