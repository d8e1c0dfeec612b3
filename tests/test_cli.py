import json
import re

import pytest
from click.testing import CliRunner

from nascli.cli import main
from nascli.units import parse_quantity

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
QUICK = ["--population", "4", "--generations", "2", "--supernet-epochs", "1", "--retrain-epochs", "1"]


def run(*args, expect=0):
    result = CliRunner().invoke(main, [str(a) for a in args], catch_exceptions=True)
    assert result.exit_code == expect, (result.output, result.exception)
    assert "Traceback" not in result.output
    return result


def commands(group=main, prefix=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda v: " ".join(v) if isinstance(v, tuple) else ""
)
def test_every_command_has_an_example_and_json(path, command):
    text = run(*path, "--help").output
    assert f"nascli {' '.join(path)}" in re.split("Examples?:", text)[1]
    assert "--json" in text


def test_doctor_devices_and_spaces():
    checks = json.loads(run("doctor", "--json").stdout)
    assert {"python", "runtime ort-cpu", "store"} <= {c["name"] for c in checks}
    assert "ort-cpu" in run("doctor").stdout
    devices = json.loads(run("devices", "--json").stdout)
    assert devices[0]["key"] == "cpu" and "titanxp" in {d["key"] for d in devices}
    assert "547" in run("devices", "titanxp").stdout
    assert "proxyless-mini" in run("spaces").stdout
    space = json.loads(run("spaces", "proxyless-mini", "--json").stdout)
    assert space["size"] == str(7**7 * 6**3) and space["macs"][0] < space["macs"][1]
    assert "mbconv kernel=3 expand=3" in run("spaces", "proxyless-mini").stdout


def test_a_card_that_is_not_here():
    result = run("profile", "--device", "titanxp", expect=1)
    assert "here is: cpu" in result.stderr and "--device cpu" in result.stderr


@pytest.mark.parametrize(
    ("args", "status", "text"),
    [
        (["search", "--constraint", "latency=8"], 1, "has no unit"),
        (["search", "--constraint", "speed=8ms"], 1, "unknown cost"),
        (["search"], 2, "Missing option"),
        (["search", "--constraint", "latency=8ms", "--algorithm", "magic"], 1, "unknown algorithm"),
        (["search", "--constraint", "latency=8ms", "--space", "magic"], 1, "unknown space"),
        (
            ["search", "--constraint", "latency=8ms", "--data", "magic", "--space", TINY],
            1,
            "unknown data set",
        ),
        (["search", "--constraint", "macs@h100<=8M"], 1, "the same on every device"),
        (["search", "--constraint", "latency=8ms", "--seed", "-1"], 2, "Invalid value"),
        (["profile", "--device", "toaster"], 1, "unknown device"),
        (["profile", "--batch", "0"], 2, "Invalid value"),
        (["profile", "--runtime", "magic"], 1, "unknown runtime"),
        (["profile", "--precision", "fp7", "--space", TINY], 1, "measures fp32, int8, not"),
        (["count", "nothing.json"], 1, "cannot read"),
        (["count", "nothing"], 1, "unknown network or space"),
        (["predict", "nothing.json"], 1, "cannot read"),
        (["report", "nowhere"], 1, "not a finished run"),
        (["lut", "list"], 1, "no store"),
        (["lut", "show"], 1, "nothing was measured"),
        (["magic"], 2, "No such command"),
    ],
)
def test_wrong_inputs_are_told_in_a_line_or_two(args, status, text):
    result = run(*args, expect=status)
    assert text in result.stderr
    if status == 1:
        assert len(result.stderr.strip().splitlines()) <= 4


def test_foreign_stores_and_missing_permissions(tmp_path):
    foreign = tmp_path / "store"
    foreign.write_bytes(b"hello" * 1000)
    assert "damaged or not a store" in run("lut", "list", "--store", foreign, expect=1).stderr
    assert (
        "cannot make the folder"
        in run("profile", "--space", TINY, "--store", foreign / "sub" / "s", expect=1).stderr
    )


def test_control_characters_do_not_reach_the_terminal():
    assert "\x1b" not in run("spaces", "\x1b[31mred", expect=1).stderr


def test_the_whole_chain(tmp_path):
    profiled = json.loads(run("profile", "--space", TINY, "--batch", "4", "--json").stdout)
    assert profiled["measured_now"] == profiled["operators"] > 10
    again = json.loads(run("profile", "--space", TINY, "--batch", "4", "--json").stdout)
    assert again["measured_now"] == 0 and again["table_digest"] == profiled["table_digest"]
    (table,) = json.loads(run("lut", "list", "--json").stdout)
    assert table["batch"] == 4 and table["operators"] == profiled["operators"]
    rows = json.loads(run("lut", "show", "--batch", "4", "--json").stdout)
    assert rows[0]["seconds"] >= rows[-1]["seconds"] > 0
    assert "mbconv" in run("lut", "show", "--batch", "4").stdout

    out = tmp_path / "run"
    first = run(
        "search",
        "--constraint",
        "latency=20ms",
        "--space",
        TINY,
        "--batch",
        "4",
        "--out",
        out,
        *QUICK,
        "--json",
    )
    result = json.loads(first.stdout)
    assert 0 < result["measured_latency_s"] <= 0.02 and result["measured_interval_s"][1] <= 0.02
    for key in ("budget", "predicted_latency_s", "macs", "params", "supernet_top1", "retrained_top1", "baselines",
                "seed", "versions", "table_digest"):  # fmt: skip
        assert key in result
    assert result == json.loads((out / "result.json").read_text())
    for name in ("model.onnx", "weights.safetensors", "architecture.json", "report.html"):
        assert (out / name).stat().st_size > 0

    file = out / "architecture.json"
    predicted = json.loads(run("predict", file, "--batch", "4", "--json").stdout)
    assert predicted["latency_s"] == pytest.approx(result["predicted_latency_s"]["value"], rel=0.03)
    assert sum(part["share"] for part in predicted["parts"]) == pytest.approx(1)
    assert "stage1.0" in run("predict", file, "--batch", "4", "--explain").stdout
    measured = json.loads(run("measure", file, "--batch", "4", "--json").stdout)
    assert measured["measured_latency_s"] == pytest.approx(result["measured_latency_s"], rel=0.2)
    assert json.loads(run("count", file, "--json").stdout)["macs"] == result["macs"]
    assert "report.html" in run("report", out).stdout
    missing = run("predict", file, "--batch", "5", expect=1)
    assert "no latency for" in missing.stderr and "nascli profile --space" in missing.stderr

    # The same command again answers from the folder; another setting is refused; a foreign folder too.
    same = run(
        "search", "--constraint", "latency=20ms", "--space", TINY, "--batch", "4", "--out", out, *QUICK
    )
    assert "complete" in same.stderr and "winner" in same.stdout
    other = run(
        "search",
        "--constraint",
        "latency=30ms",
        "--space",
        TINY,
        "--batch",
        "4",
        "--out",
        out,
        *QUICK,
        expect=1,
    )
    assert "latency=20ms" in other.stderr and "latency=30ms" in other.stderr
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("mine")
    refused = run(
        "search", "--constraint", "latency=20ms", "--space", TINY, "--out", stranger, *QUICK, expect=1
    )
    assert "thesis.txt" in refused.stderr and (stranger / "thesis.txt").read_text() == "mine"

    # Another budget on the same supernet, without training it again.
    least = json.loads(run("count", TINY, "--json").stdout)["macs"][0]
    limit = (result["macs"] + least) // 2
    second = run(
        "search", "--constraint", f"macs<={limit}", "--constraint", "latency=20ms", "--space", TINY,
        "--batch", "4", "--out", tmp_path / "two", *QUICK, "--json",
    )  # fmt: skip
    assert "reused" in second.stderr
    smaller = json.loads(second.stdout)
    assert smaller["supernet"] == result["supernet"] and smaller["codes"] != result["codes"]
    assert smaller["macs"] <= limit < result["macs"]

    impossible = run("search", "--constraint", "latency=1us", "--space", TINY, "--batch", "4", "--out",
                     tmp_path / "three", expect=1)  # fmt: skip
    assert "the cheapest has latency" in impossible.stderr


def test_counting_by_name_file_and_space(tmp_path):
    assert json.loads(run("count", "mobilenetv2", "--json").stdout)["macs"] == 300_774_272
    assert "300,774,272" in run("count", "mobilenetv2", "--layers").stdout
    checked = run("count", "shufflenetv2-0.5", "--check")
    assert "equal to ours" in checked.stdout
    opinion = json.loads(run("count", "spos-searched", "--check", "--json").stdout)["fvcore"]
    assert opinion["products"] == 322_918_720
    assert json.loads(run("spaces", "nss-expanded", "--json").stdout)["size"] == str(8192**3)
    assert "nse-27" in run("spaces").stdout
    assert json.loads(run("spaces", "nse-27", "--json").stdout)["macs"][0] < 50e6
    assert json.loads(run("count", "nss-expanded", "--json").stdout)["macs"][1] == 99_220_902_912
    assert "cannot be profiled or" in run("profile", "--space", "nss-expanded", expect=1).stderr


def test_a_space_of_ones_own_profiles_and_searches(tmp_path):
    spec = "examples/my_space.py:ghosts:resolution=8"
    done = run(
        "search",
        "--space",
        spec,
        "--constraint",
        "latency=50ms",
        "--batch",
        "2",
        "--out",
        tmp_path / "r",
        *QUICK,
    )
    assert "winner" in done.stdout
    toml = run("--use", "examples/my_space.toml", "spaces", "toml-mbconv", "--json")
    assert json.loads(toml.stdout)["layers"] == 5
    assert run("--use", "examples/my_space.py", "count", tmp_path / "r" / "architecture.json").exit_code == 0


def test_tables_travel_in_packs(tmp_path):
    run("profile", "--space", TINY, "--batch", "3")
    pack = tmp_path / "mine.parquet"
    exported = json.loads(run("lut", "export", "--batch", "3", "--out", pack, "--json").stdout)
    assert exported["operators"] > 10
    other = tmp_path / "elsewhere.sqlite"
    (imported,) = json.loads(run("lut", "import", pack, "--store", other, "--json").stdout)
    assert imported["new"] == exported["samples"]
    assert "0 of" in run("lut", "import", pack, "--store", other).stdout
    assert "no store" in run("lut", "check", "--store", tmp_path / "none", expect=1).stderr
    assert json.loads(run("lut", "show", "--batch", "3", "--store", other, "--json").stdout)
    difference = json.loads(run("lut", "diff", pack, pack, "--json").stdout)
    assert difference["median_ratio"] == 1 and not difference["setup"]
    assert "median ratio 1.000" in run("lut", "diff", pack, pack).stdout
    assert "operators" in run("lut", "merge", pack, pack, "--out", tmp_path / "both.parquet").stdout
    assert run("lut", "check", "--json").exit_code == 0
    pack.write_bytes(pack.read_bytes()[:-100])
    assert "damaged" in run("lut", "import", pack, expect=1).stderr
    assert "samples removed" in run("lut", "remove", "--batch", "3", "--yes", "--store", other).stdout
    assert (
        "nothing was measured"
        in run("lut", "remove", "--batch", "3", "--yes", "--store", other, expect=1).stderr
    )


def test_a_calibrated_prediction_has_an_interval_that_measuring_confirms(tmp_path):
    import numpy as np

    from nascli.spaces import Architecture, load_space

    space = load_space(TINY)
    file = tmp_path / "a.json"
    Architecture.of(space, space.sample(1, np.random.default_rng(5))).save(file)
    place = ["--batch", "4"]
    run("profile", "--space", TINY, *place)
    before = json.loads(run("predict", str(file), *place, "--json").stdout)
    assert before["interval_s"] is None and before["kind"] == "measured"
    found = json.loads(run("calibrate", "--space", TINY, "--networks", "12", *place, "--json").stdout)
    assert 8 <= found["networks"] <= 12 and found["half_width"] > 0
    assert found["calibrated"]["mean_absolute"] < 0.2
    after = json.loads(run("predict", str(file), *place, "--json").stdout)
    low, high = after["interval_s"]
    assert after["kind"] == "calibrated" and low < after["latency_s"] < high
    measured = json.loads(run("measure", str(file), *place, "--json").stdout)["measured_latency_s"]
    assert measured == pytest.approx(after["latency_s"], rel=0.25)
    # What was measured counts from then on.
    again = json.loads(run("calibrate", "--space", TINY, "--networks", "12", *place, "--json").stdout)
    assert again["networks"] == found["networks"] + 1
    assert "at most" in run("predict", str(file), *place, "--confidence", "0.999", expect=1).stderr


def test_an_onnx_model_is_profiled_layer_by_layer_predicted_and_measured(tmp_path):
    from nascli.profiles.graphs import onnx_bytes
    from nascli.spaces.library import mbconv
    from nascli.spaces.primitives import chain

    model = tmp_path / "m.onnx"
    blocks = [mbconv((8, 14, 14), 8).program, mbconv((8, 14, 14), 16, stride=2).program]
    model.write_bytes(onnx_bytes(chain(blocks), 2))
    assert "Measure them: nascli profile --network" in run("predict", str(model), expect=1).stderr
    first = json.loads(run("profile", "--network", str(model), "--json").stdout)
    assert first["measured_now"] == first["operators"] > 0
    predicted = json.loads(run("predict", str(model), "--json").stdout)
    measured = json.loads(run("measure", str(model), "--json").stdout)
    assert predicted["latency_s"] == pytest.approx(measured["measured_latency_s"], rel=0.4)
    again = json.loads(run("profile", "--network", str(model), "--json").stdout)
    assert again["measured_now"] == 0
    anew = json.loads(run("profile", "--network", str(model), "--older-than", "0.001s", "--json").stdout)
    assert anew["measured_now"] == anew["operators"] == first["operators"]


def test_another_tools_table_is_imported_shown_and_removed(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,0.5\n")
    assert (
        "does not say --device and --batch"
        in run("lut", "import", str(file), "--format", "csv", expect=1).stderr
    )
    place = ["--device", "titanxp", "--batch", "8"]
    found = json.loads(run("lut", "import", str(file), "--format", "csv", *place, "--json").stdout)
    assert found[0]["new"] == 1
    (row,) = json.loads(run("lut", "show", *place, "--json").stdout)
    assert (row["kind"], row["seconds"]) == ("imported", 0.0005)
    run("lut", "remove", *place, "--yes")
    assert "is not in this machine" in run("lut", "show", *place, expect=1).stderr


def test_a_difference_is_drawn(tmp_path):
    packs = []
    run("profile", "--space", TINY, "--batch", "2")
    for name in ("a", "b"):
        packs.append(str(tmp_path / f"{name}.parquet"))
        run("lut", "export", "--batch", "2", "--out", packs[-1])
    picture = tmp_path / "d.svg"
    run("lut", "diff", *packs, "--picture", str(picture))
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.parse(picture).getroot()
    assert root.tag.endswith("svg") and len(root.findall(".//{*}circle")) > 10


MULTI = "nse-19-mini:resolution=8,width=0.25,branches=2"
SINGLE = "pcnas-small-mini:resolution=8,width=0.25"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "space", "limit"), [("pcnas", SINGLE, "macs<=400k"), ("nse", MULTI, "macs<=700k"),
                                      ("guided", SINGLE, "macs<=400k"), ("proxyless", SINGLE, "macs<=400k")],
)  # fmt: skip
def test_every_algorithm_ends_in_a_verified_network_and_a_report(
    tmp_path, monkeypatch, algorithm, space, limit
):
    from nascli.pipeline import settings
    from nascli.search.guided import Guidance
    from nascli.search.nse import Nse
    from nascli.search.pcnas import Pcnas

    small = settings.Effort(
        guidance=Guidance(evaluations=10, first=4),
        pcnas=Pcnas(pool=2, draws=3, warmup=1, interval=0),
        nse=Nse(candidates=3, samples=6, beyond=2, rounds=2),
        nse_epochs=1,
        supernet_epochs=1,
        retrain_epochs=1,
        finalists=2,
    )
    monkeypatch.setattr(settings, "effort_of", lambda preset, algorithm: small)
    args = [
        "search", "--algorithm", algorithm, "--space", space, "--constraint", "latency=50ms",
        "--constraint", limit, "--batch", "2", "--out", tmp_path / "run",
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
def test_nse_under_counted_budgets_fills_them_and_goes_on_in_a_second_space(tmp_path, monkeypatch):
    from nascli.pipeline import settings
    from nascli.search.nse import Nse

    small = settings.Effort(
        nse=Nse(candidates=3, samples=6, beyond=2, rounds=1), nse_epochs=1, retrain_epochs=1, finalists=2,
        recipe="nse-small",
    )  # fmt: skip
    monkeypatch.setattr(settings, "effort_of", lambda preset, algorithm: small)
    size = "resolution=8,width=0.5,branches=2"
    first = ["search", "--algorithm", "nse", "--space", f"nse-27-mini:{size}", "--batch", "2", "--constraint"]
    result = json.loads(run(*first, "macs<=2M", "--out", tmp_path / "a", "--json").stdout)
    # The budget is a binding one, and the winner's widths are as wide as it allows.
    assert 1.2e6 < result["macs"] <= 2e6 and result["space"] != result["searched_space"]
    (bound,) = result["budget"]
    assert bound["value"] == result["macs"] and bound["kind"] == "counted"
    assert "Round 1" in (tmp_path / "a" / "report.html").read_text()
    kept = json.loads((tmp_path / "a" / "story.json").read_text())["rounds"][-1]
    second = [
        "search", "--algorithm", "nse", "--space", f"nse-second-mini:{size}", "--batch", "2", "--constraint", "macs<=2M",
        "--after", tmp_path / "a",
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


def test_quiet_may_stand_behind_the_command(tmp_path):
    loud = run("profile", "--space", TINY, "--batch", "3")
    quiet = run("profile", "--space", TINY, "--batch", "4", "--quiet")
    assert "measuring" in loud.stderr and quiet.stderr == ""


def test_a_run_s_folder_of_somebody_else_executes_nothing(tmp_path):
    args = [
        "search",
        "--space",
        TINY,
        "--batch",
        "2",
        "--constraint",
        "macs<=1M",
        *QUICK,
        "--out",
        tmp_path / "run",
    ]
    run(*args)
    trap = tmp_path / "evil.py"
    trap.write_text(f"open({str(tmp_path / 'was-here')!r}, 'w')")
    file = tmp_path / "run" / "result.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "searched_space": f"{trap}:anything"}))
    refused = run("report", tmp_path / "run", expect=1)
    assert "names a file, and is not opened" in refused.stderr and not (tmp_path / "was-here").exists()


def test_names_of_others_reach_the_terminal_as_plain_text():
    from io import StringIO

    from rich.console import Console

    from nascli.terminal import TerminalProgress

    for terminal in (False, True):
        seen = StringIO()
        progress = TerminalProgress(Console(file=seen, force_terminal=terminal, width=200))
        progress.start("training \x1b[31m[/bold]", 2)
        progress.advance(1, "loss [/dim]\x1b[2J")
        progress.message("plan \x1b]0;title\x07[red]")
        progress.finish()
        text = seen.getvalue()
        assert "\x1b[31m" not in text and "\x1b[2J" not in text and "\x1b]0;" not in text
        assert "[/bold]" in text and "[red]" in text


def test_shells_are_told_what_may_be_chosen():
    from nascli.commands.common import completing
    from nascli.pipeline.known import names

    assert "proxyless-mini" in completing("spaces")(None, None, "proxyless")
    assert completing("algorithms")(None, None, "ns") == ["nse", "nss"]
    for kind in ("devices", "runtimes", "precisions", "data", "presets", "recipes"):
        assert names(kind)


@pytest.mark.slow
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


def test_a_confidence_needs_a_calibration(tmp_path):
    result = run(
        "search", "--constraint", "latency=20ms", "--space", TINY, "--batch", "4", "--confidence", "0.9",
        "--out", tmp_path / "x", *QUICK, expect=1,
    )  # fmt: skip
    assert "nascli calibrate" in result.stderr


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
@pytest.mark.parametrize(
    ("algorithm", "space"),
    [
        ("nss", "nss-expanded-mini:resolution=8,widths=16"),
        ("autospace", "autospace-mini:resolution=8,width=0.25"),
    ],
)
def test_learned_spaces_are_searched_to_a_verified_winner(tmp_path, monkeypatch, algorithm, space):
    from nascli.pipeline import settings
    from nascli.search.autospace import AutoSpace
    from nascli.search.nss import Nss
    from nascli.search.spos import Evolution

    small = settings.Effort(
        supernet_epochs=1, retrain_epochs=1, evolution=Evolution(population=4, generations=2), finalists=2,
        nss=Nss(depth_bin=2, width_bin=4, drawn=2), nss_epochs=1,
        autospace=AutoSpace(cells=2, population=6, first_team=2, last_team=3, warmup=1, evolution=1, frequency=10,
                            reference_epochs=1),
    )  # fmt: skip
    monkeypatch.setattr(settings, "effort_of", lambda preset, algorithm: small)
    args = [
        "search", "--algorithm", algorithm, "--space", space, "--constraint", "macs<=1M", "--batch", "2",
        "--out", tmp_path / "run",
    ]  # fmt: skip
    result = json.loads(run(*args, "--json").stdout)
    learned = json.loads((tmp_path / "run" / "space.json").read_text())
    assert result["space"] == learned["spec"] and result["macs"] <= 1_000_000
    assert json.loads(run(*args, "--json").stdout) == result
    assert (
        json.loads(run("count", tmp_path / "run" / "architecture.json", "--json").stdout)["macs"]
        == result["macs"]
    )


def test_spaces_that_cannot_be_learned(tmp_path):
    for args, text in (
        (["--algorithm", "nss", "--space", "nss-expanded-mini", "--batch", "2"], "none of 50.0 ms"),
        (["--algorithm", "nss", "--space", TINY], "no space of depths and widths"),
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


@pytest.mark.slow
def test_an_architecture_is_trained_and_handed_over(tmp_path):
    from nascli.spaces import Architecture, load_space

    space = load_space(TINY)
    file, out = tmp_path / "a.json", tmp_path / "trained"
    Architecture.of(space, [1] * len(space.layers), "mine").save(file)
    args = ["train", file, "--epochs", "1", "--batch", "2", "--out", out]
    trained = json.loads(run(*args, "--json").stdout)
    assert 0 < trained["top1"] <= 1 and trained["top1_interval"][0] <= trained["top1"]
    assert json.loads(run(*args, "--json").stdout) == trained
    weights = out / "weights.safetensors"
    for form, name in (("onnx", "m.onnx"), ("pt2", "m.pt2"), ("python", "net.py")):
        target = tmp_path / name
        done = json.loads(
            run(
                "export",
                file,
                "--weights",
                weights,
                "--format",
                form,
                "--batch",
                "2",
                "--out",
                target,
                "--json",
            ).stdout
        )
        assert target.stat().st_size > 0 and done["largest_difference"] < 1e-3
    assert "nascli" not in (tmp_path / "net.py").read_text()
    predicted = run("measure", tmp_path / "m.onnx", "--batch", "2", "--json")
    assert json.loads(predicted.stdout)["measured_latency_s"] > 0
    wrong = run("export", file, "--weights", tmp_path / "m.onnx", "--out", tmp_path / "x.onnx", expect=1)
    assert "no weights of this architecture" in wrong.stderr
    assert (
        "caffe"
        in run("export", file, "--weights", weights, "--format", "caffe", "--out", "x", expect=2).stderr
    )
    # Refused before anything is written.
    plain = tmp_path / "plain"
    plain.mkdir()
    text = ["export", file, "--weights", weights, "--format", "python", "--out", plain / "net.txt"]
    assert "end in .py" in run(*text, expect=1).stderr and not list(plain.iterdir())
    # Against the device, and against a budget there.
    held = [
        "export",
        file,
        "--weights",
        weights,
        "--out",
        plain / "m.onnx",
        "--batch",
        "2",
        "--measure",
        "--constraint",
    ]
    measured = json.loads(run(*held, "latency=1s", "--json").stdout)
    assert 0 < measured["measured_interval_s"][0] <= measured["measured_latency_s"] < 1
    broken = run(*held, "latency=1us", expect=1)
    assert "breaks latency <= 1.00 us" in broken.stderr and (plain / "m.onnx").stat().st_size > 0
    assert "latency on cpu" in run(*held, "macs<=1M", expect=1).stderr
    assert "add --measure" in run(*held[:-2], "--constraint", "latency=1s", expect=2).stderr
    assert (
        "unknown recipe" in run("train", file, "--recipe", "none", "--out", tmp_path / "y", expect=1).stderr
    )
    other = run(*args[:-1], tmp_path / "trained", "--seed", "3", expect=1)
    assert "other settings" in other.stderr


def test_shells_are_completed():
    for shell in ("bash", "zsh", "fish"):
        assert "_NASCLI_COMPLETE" in run("completion", shell).output
    run("completion", "tcsh", expect=2)


def test_quiet_leaves_results_and_errors_only(tmp_path):
    store = str(tmp_path / "s.sqlite")
    words = ["profile", "--space", TINY, "--batch", "2", "--store", store]
    loud, quiet = run(*words), run("--quiet", *words)
    assert "distinct operators" in loud.stderr and quiet.stderr == ""
    assert "models in" in quiet.stdout
    assert "error" in run("--quiet", "profile", "--device", "titanxp", expect=1).stderr


def test_several_runs_on_one_page_need_finished_runs(tmp_path):
    (tmp_path / "a").mkdir()
    assert "not a finished run" in run("report", tmp_path / "a", tmp_path / "a", expect=1).output
    assert "goes with several runs" in run("report", tmp_path / "a", "--out", "x.html", expect=2).output


def test_a_missing_package_is_told_and_not_a_traceback(monkeypatch):
    def absent():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("nascli.pipeline.doctor.examine", absent)
    assert "pip install 'nascli[search]'" in run("doctor", expect=1).output


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
