import json

import pytest
from commanding import QUICK, TINY, run

pytestmark = pytest.mark.usefixtures("quick_measuring")


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
    assert "add --measure" in run(*held[:-2], "--inputs", "x.npz", expect=2).stderr
    assert (
        "unknown recipe" in run("train", file, "--recipe", "none", "--out", tmp_path / "y", expect=1).stderr
    )
    other = run(*args[:-1], tmp_path / "trained", "--seed", "3", expect=1)
    assert "other settings" in other.stderr


def test_several_runs_on_one_page_need_finished_runs(tmp_path):
    (tmp_path / "a").mkdir()
    assert "not a finished run" in run("report", tmp_path / "a", tmp_path / "a", expect=1).output
    assert "goes with several runs" in run("report", tmp_path / "a", "--out", "x.html", expect=2).output
