import json

import pytest
from commanding import QUICK, TINY, run
from simulated_runtimes import install, simulated_runtime


def test_a_card_that_is_not_here():
    result = run("profile", "--device", "titanxp", expect=1)
    assert "here is: cpu" in result.stderr and "--device cpu" in result.stderr


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


@pytest.mark.usefixtures("quick_measuring")
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
    # Other tests run beside this one. How close predictions are is the subject of benchmarks.latency_accuracy.
    assert 0.5 < measured / after["latency_s"] < 2
    # What was measured counts from then on.
    again = json.loads(run("calibrate", "--space", TINY, "--networks", "12", *place, "--json").stdout)
    assert again["networks"] == found["networks"] + 1
    unsure = run("predict", str(file), *place, "--confidence", "0.999").stdout
    assert "no interval: 1" in unsure and "at most" in unsure


def test_an_onnx_model_is_profiled_layer_by_layer_predicted_and_measured(tmp_path):
    from nascli.profiles.onnx.graphs import onnx_bytes
    from nascli.spaces.operators.inverted_residual import mbconv
    from nascli.spaces.programs import chain

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


@pytest.mark.usefixtures("quick_measuring")
def test_a_confidence_needs_a_calibration(tmp_path):
    result = run(
        "search", "--constraint", "latency=20ms", "--space", TINY, "--batch", "4", "--confidence", "0.9",
        "--out", tmp_path / "x", *QUICK, expect=1,
    )  # fmt: skip
    assert "nascli calibrate" in result.stderr


def test_calibrating_without_a_space_is_calibrating_the_device(tmp_path):
    from simulated_devices import fill_references

    place = ["--batch", "4", "--store", tmp_path / "s.sqlite"]
    fill_references(tmp_path / "s.sqlite")
    shown = run("calibrate", *place)
    assert "31 reference networks of 22 families; 90% interval of a network of another family" in shown.stdout
    assert "0 to measure" in shown.stderr
    document = json.loads(run("calibrate", *place, "--json").stdout)
    assert document["families"] == 22 and document["corrected"]["within_5_percent"] == 1
    refused = run("calibrate", "--networks", "12", *place, expect=2)
    assert "--networks goes with --space" in refused.stderr


def test_transfer_ranks_architectures_on_a_device_of_which_few_networks_are_measured(tmp_path):
    import csv

    from simulated_devices import DEVICES, MIXED, add_table, truth

    from nascli.pipeline.measure.subjects import space_subjects
    from nascli.spaces import load_space

    space = load_space(TINY)
    words = ["transfer", "--space", TINY, "--batch", "4", "--store", tmp_path / "s.sqlite"]
    assert "there is no store" in run(*words, expect=1).stderr
    for name, device in DEVICES.items():
        add_table(tmp_path / "s.sqlite", name, device, space_subjects(space, 16))
    # This CPU is here: its networks are measured, once.
    first = run(*words, "--networks", "6", "--json")
    assert "measuring networks on" in first.stderr and "0/6" in first.stderr
    result = json.loads(first.stdout)
    assert result["networks"] == 6 and len(result["architectures"]) == 10
    assert {known["setup"]["device"] for known in result["known_devices"]} == set(DEVICES)
    again = run(*words, "--networks", "6")
    assert "measuring" not in again.stderr and "pairs in order" in again.stdout and "alpha" in again.stdout

    # What nascli does not run on is measured by another tool.
    written = run(*words, "--write-networks", tmp_path / "w").stdout
    form = tmp_path / "w" / "measurements.csv"
    assert str(form) in written.replace("\n", "")
    lines = list(csv.reader(form.open()))
    for line in lines[1:]:
        line[2] = 1e3 * truth(space.network([int(code) for code in line[1].split()]).program, MIXED)
    with form.open("w") as file:
        csv.writer(file).writerows(lines)
    files = sorted((tmp_path / "w").glob("*.json"))
    # The space is that of the files.
    told = run("transfer", *words[3:], "--device", "phone", "--measurements", form, *files, "--json")
    result = json.loads(told.stdout)
    assert result["device"] == "phone" and result["setup"] is None and result["networks"] == 10
    assert result["transferred"]["pairs_in_order"] > 0.8
    for one in result["architectures"]:
        low, high = one["interval_s"]
        assert low < one["measured_latency_s"] < high
    only = run(
        *words, "--device", "phone", "--measurements", form, "--from", "beta", "--sample", "3", "--json"
    )
    (known,) = json.loads(only.stdout)["known_devices"]
    assert known["weight"] == 1

    for wrong, status, text in (
        (["--device", "toaster"], 1, "unknown device 'toaster'"),
        (["--device", "titanxp"], 1, "a transfer needs at least 5"),
        (["--from", "delta"], 1, "unknown device of the store"),
        (["--batch", "8"], 1, "no other device"),
        (["--measurements", tmp_path / "none.csv"], 1, "cannot read"),
        (["--write-networks", tmp_path / "w"], 1, "may hold figures"),
        (["--write-networks", tmp_path / "v", "--from", "beta"], 2, "only writes"),
        (["--space", "spos-mini", files[0]], 1, "not of spos-mini"),
        (["--networks", "4"], 2, "Invalid value"),
    ):  # fmt: skip
        refused = run(*words, *wrong, expect=status)
        assert text in refused.stderr and len(refused.stderr.strip().splitlines()) <= 4


def test_every_runtime_beside_the_others(tmp_path):
    from nascli.spaces import Architecture, load_space

    space = load_space(TINY)
    file = tmp_path / "architecture.json"
    Architecture(space, [0] * len(space.layers)).save(file)
    document = json.loads(run("measure", file, "--runtime", "all", "--batch", "1", "--json").stdout)
    rows = {(row["runtime"], row["precision"]): row for row in document["runtimes"]}
    assert rows["ort-cpu", "fp32"]["speed"] == 1 and rows["openvino", "fp32"]["distance"] < 1e-3
    fastest = document["fastest"]
    assert rows[fastest["runtime"], fastest["precision"]]["speed"] == max(
        row["speed"] for row in rows.values()
    )
    for command, word in (
        ("predict", "all"),
        ("calibrate", "fastest"),
        ("measure", "fastest"),
        ("profile", "all"),
    ):
        subject = [file] if command in ("predict", "measure") else []
        refused = run(command, *subject, "--runtime", word, expect=2)
        assert f"--runtime {word} goes with" in refused.stderr


def test_profiling_on_the_fastest_runtime_says_which(monkeypatch):
    install(
        monkeypatch, simulated_runtime("slow", {"fp32": 2e-3}), simulated_runtime("quick", {"fp32": 1e-3})
    )
    done = run("profile", "--space", TINY, "--batch", "2", "--runtime", "fastest", "--json")
    assert json.loads(done.stdout)["setup"]["runtime"] == "quick"
    assert "quick, 2.00 times as fast as slow in fp32" in " ".join(done.stderr.split())
    for elsewhere in (["--host", "user@machine"], ["--ray", "auto"]):
        refused = run("profile", "--space", TINY, "--runtime", "fastest", *elsewhere, expect=2)
        assert "--runtime fastest goes with" in refused.stderr
