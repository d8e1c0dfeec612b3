import json
import re
import resource
import subprocess
import sys

import pytest
from commanding import TINY, run

from nascli.cli import main


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


@pytest.mark.usefixtures("quick_measuring")
def test_quiet_may_stand_behind_the_command(tmp_path):
    loud = run("profile", "--space", TINY, "--batch", "3")
    quiet = run("profile", "--space", TINY, "--batch", "4", "--quiet")
    assert "measuring" in loud.stderr and quiet.stderr == ""


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
    from nascli.commands.options import completing
    from nascli.pipeline.inspect.names import completions

    assert "proxyless-mini" in completing("spaces")(None, None, "proxyless")
    assert completing("algorithms")(None, None, "ns") == ["nse", "nss"]
    for kind in ("devices", "runtimes", "precisions", "data", "presets", "recipes"):
        assert completions(kind)


def test_shells_are_completed():
    for shell in ("bash", "zsh", "fish"):
        assert "_NASCLI_COMPLETE" in run("completion", shell).output
    run("completion", "tcsh", expect=2)


def test_too_little_memory_is_told(tmp_path):
    """Below some 300 MB of addresses OpenBLAS would spin for ever while it is loaded, and below 4 GB torch is not loaded."""
    for megabytes, text in ((230, "limited to 241 MB"), (900, "cannot be loaded")):

        def limit(size=megabytes):
            resource.setrlimit(resource.RLIMIT_AS, (size << 20, size << 20))

        words = ["search", "--space", TINY, "--constraint", "macs<=120k", "--out", str(tmp_path / "r")]
        done = subprocess.run(
            [sys.executable, "-m", "nascli", *words],
            capture_output=True,
            text=True,
            preexec_fn=limit,
            timeout=60,
        )
        assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr


@pytest.mark.usefixtures("quick_measuring")
def test_quiet_leaves_results_and_errors_only(tmp_path):
    store = str(tmp_path / "s.sqlite")
    words = ["profile", "--space", TINY, "--batch", "2", "--store", store]
    loud, quiet = run(*words), run("--quiet", *words)
    assert "distinct operators" in loud.stderr and quiet.stderr == ""
    assert "models in" in quiet.stdout
    assert "error" in run("--quiet", "profile", "--device", "titanxp", expect=1).stderr


def test_a_missing_package_is_told_and_not_a_traceback(monkeypatch):
    def absent():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("nascli.pipeline.inspect.doctor.run_checks", absent)
    assert "pip install 'nascli[search]'" in run("doctor", expect=1).output
