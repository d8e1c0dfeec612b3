import ast
from dataclasses import replace
from io import StringIO
from pathlib import Path

import click
import pytest
from rich.console import Console

import nascli
from nascli.cli import main
from nascli.commands.hints import (
    advice_as_text,
    error_as_text,
    option,
    remedy_as_text,
    target_as_options,
    unmeasured_as_text,
)
from nascli.errors import NascliError, Remedy
from nascli.execution import Execution
from nascli.pipeline.run.result import read_result
from nascli.profiles.target import TargetSpec
from nascli.terminal import TerminalProgress

PLACE = "--device cpu --batch 2 --threads 1 --precision fp32"


def test_a_target_is_told_as_options():
    assert target_as_options(TargetSpec(batch=2)) == PLACE
    card = TargetSpec(device="titanxp", runtime="tensorrt", cuda_graph=True, rotate_inputs=True)
    assert target_as_options(card).endswith("--runtime tensorrt --cuda-graph --rotate-inputs")


@pytest.mark.parametrize(
    ("remedy", "text"),
    [
        (Remedy(job="list_tables"), "nascli lut list"),
        (Remedy(job="calibrate", arguments={"networks": 24}), "nascli calibrate --networks 24"),
        (Remedy(arguments={"precision": None, "runtime": None}), "--precision, --runtime"),
        (Remedy(arguments={"device": "titanxp", "batch": 128}), "--device titanxp --batch 128"),
        (Remedy(arguments={"clock_mhz": 1404}), "--lock-clocks 1404"),
        (Remedy(arguments={"changes": "nse.threshold=-3"}), "--set nse.threshold=-3"),
        (Remedy(job="profile", arguments={"unstable": True}), "nascli profile --unstable"),
        (Remedy(job="profile", arguments={"age": "1s"}), "nascli profile --older-than 1s"),
        (Remedy(job="describe_device", arguments={"name": "titanxp"}), "nascli devices titanxp"),
        (Remedy(job="use_file", arguments={"path": "FILE"}), "nascli --use FILE"),
        (
            Remedy(
                job="profile",
                arguments={"space": "s", "target": TargetSpec(batch=2)},
            ),
            f"nascli profile --space s {PLACE}",
        ),
        (
            Remedy(
                job="profile",
                arguments={"network": Path("a b.onnx"), "execution": Execution(store=Path("s"))},
            ),
            "nascli profile --network 'a b.onnx' --store s",
        ),
    ],
)
def test_a_remedy_is_told_as_what_to_type(remedy, text):
    assert remedy_as_text(remedy) == text


def test_the_shared_store_need_not_be_named():
    remedy = Remedy(job="profile", arguments={"space": "s", "execution": Execution()})
    assert remedy_as_text(remedy) == "nascli profile --space s"


def test_an_error_ends_in_what_to_type():
    remedy = Remedy(arguments={"store": None})
    assert error_as_text(NascliError("no store.", "Name one that exists.", remedy)) == (
        "no store.\nName one that exists: --store"
    )
    assert error_as_text(NascliError("no store.", None, remedy)) == "no store.\nTry: --store"
    assert error_as_text(NascliError("no store.", "Wait.")) == "no store.\nWait."
    # Whoever uses the library reads no option.
    assert "--" not in str(NascliError("no store.", "Name one that exists.", remedy))


def test_several_remedies_are_told_in_turn():
    store, tables = Remedy(arguments={"store": None}), Remedy(job="list_tables")
    told = Remedy(words="Or see the tables.", job="list_tables")
    assert advice_as_text("Name a store, or see the tables.", (store, tables)) == (
        "Name a store, or see the tables: --store; nascli lut list"
    )
    assert (
        advice_as_text("Name a store.", (store, told))
        == "Name a store: --store. Or see the tables: nascli lut list"
    )
    assert advice_as_text("Wait.", (told,)) == "Wait. Or see the tables: nascli lut list"
    assert advice_as_text(None, (told, store)) == "Or see the tables: nascli lut list; --store"
    assert advice_as_text("Wait.", ()) == "Wait." and advice_as_text(None, ()) == ""
    # Whoever uses the library reads all of the words.
    assert str(NascliError("no store.", "Wait.", told)) == "no store.\nWait. Or see the tables."
    assert str(NascliError("no store.", None, store)) == "no store."


def test_progress_tells_what_to_type():
    text = StringIO()
    remedy = Remedy(arguments={"threads": 2})
    TerminalProgress(Console(file=text, width=100), advice_as_text).message("noise. Use at most 2.", remedy)
    TerminalProgress(Console(file=text, width=100)).message("noise.", remedy)
    assert text.getvalue().splitlines() == ["noise. Use at most 2: --threads 2", "noise."]


def test_whatever_a_remedy_names_can_be_typed():
    """Every remedy in the library names a job that has a command, and arguments that are options of it."""
    commands = {" ".join(path): command for path, command in leaves(main)}
    shared = {name for command in commands.values() for name in option_names(command)}
    for path in Path(nascli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "Remedy"):
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            job = given["job"].value if "job" in given else None
            typed = remedy_as_text(Remedy(job=job)).removeprefix("nascli ") if job else ""
            assert job is None or typed in commands or typed == "--use", (path, job)
            if isinstance(given.get("arguments"), ast.Dict):
                names = [key.value for key in given["arguments"].keys if isinstance(key, ast.Constant)]
                known = option_names(commands[typed]) if typed in commands else shared
                unknown = {option(name) for name in names if name not in OTHERS} - known
                assert not unknown, (path, job, unknown)


# Arguments that stand for several options, or for none.
OTHERS = ("target", "execution", "name", "path", "spec")


def option_names(command):
    return {name for parameter in command.params for name in parameter.opts}


def leaves(group, prefix=()):
    for name, command in group.commands.items():
        yield (*prefix, name), command
        if isinstance(command, click.Group):
            yield from leaves(command, (*prefix, name))


def test_a_search_that_measured_nothing_says_how_to_measure_its_winner():
    frozen = Path(__file__).parents[1] / "data" / "frozen" / "finished"
    counted = replace(
        read_result(frozen / "bits"), folder=Path("runs/a b"), document={"export_max_difference": 1e-6}
    )
    assert unmeasured_as_text(counted).endswith(
        "for the winner's latency: nascli measure 'runs/a b/model.onnx'"
    )
    # A network with low bit widths has no model that could be measured.
    assert "nascli measure" not in unmeasured_as_text(read_result(frozen / "bits"))
