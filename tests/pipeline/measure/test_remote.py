import json
import subprocess
import sys
from pathlib import Path

import measuring
import pytest

from nascli.commands.hints import plan_commands
from nascli.errors import StoreError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.remote import read_plan, write_plan
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.target import TargetSpec
from nascli.spaces.catalog import load_space

SPACE = "proxyless-mini:resolution=8,width=0.25"
# The other machine has the core and a runtime: importing torch there must not be needed.
THERE = f"""
import sys
sys.path.append({str(Path(measuring.__file__).parent)!r})
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sklearn", "safetensors"):
            raise ImportError(name + " is not installed there")
sys.meta_path.insert(0, Blocked())
from measuring import measure_quickly
measure_quickly()
from nascli.cli import main
main(sys.argv[1:])
"""


def where(device="cpu"):
    return TargetSpec(device=device, batch=2)


def test_a_plan_is_carried_there_and_a_pack_brought_back(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    written = write_plan(load_space(SPACE), where(), here)
    commands = plan_commands(written, "user@lab machine")
    assert [command.split()[0] for command in commands] == ["scp", "ssh", "scp", "nascli"]
    assert "'user@lab machine'" in commands[1]
    plan = here / written.file
    carried = there / plan.name
    carried.write_bytes(plan.read_bytes())
    measure = [sys.executable, "-c", THERE, "profile", "--plan", carried.name, "--pack", "p.parquet",
               "--store", "lab.sqlite", "--json"]  # fmt: skip
    done = subprocess.run(measure, cwd=there, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["operators"] == written.models and answer["pack"] == "p.parquet"
    imported = subprocess.run(
        [sys.executable, "-m", "nascli", "lut", "import", str(there / "p.parquet"), "--store", "s.sqlite"],
        cwd=here, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert imported.returncode == 0, imported.stderr
    models = space_subjects(load_space(SPACE), 16)
    with Store(here / "s.sqlite") as store:
        (setup,) = (setup for setup, _, _ in store.setups())
        table = LatencyTable.read(store, setup)
    assert table.missing(models) == [] and setup.batch == 2
    # What is there is not measured again.
    again = subprocess.run(measure, cwd=there, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0 and "measuring" not in again.stderr


def test_plans_for_cards_that_are_not_here_can_be_written(tmp_path):
    written = write_plan(load_space(SPACE), where("titanxp"), tmp_path)
    plan = read_plan(written.file)
    assert plan.device == "titanxp" and len(plan.operators()) == written.models == len(plan.models)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(batch=0), "batch"),
        (lambda d: d.update(batch=3), "digest does not match"),
        (lambda d: d.update(format="other"), "format"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d["models"][0].update(program=7), "program"),
        (lambda d: d["models"].pop(), "digest does not match"),
    ],
)
def test_a_damaged_plan_is_refused(tmp_path, change, message):
    written = write_plan(load_space(SPACE), where(), tmp_path)
    path = written.file
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(StoreError, match=message):
        read_plan(path)


def test_what_is_no_plan(tmp_path):
    for content in (b"", b"{", b"[]", b"\xff\xfe", b'{"format": "nascli-plan"}'):
        (tmp_path / "p.json").write_bytes(content)
        with pytest.raises(StoreError, match="is no plan"):
            read_plan(tmp_path / "p.json")
    with pytest.raises(StoreError, match="cannot read the plan"):
        read_plan(tmp_path / "none.json")


@pytest.mark.usefixtures("quick_measuring")
def test_what_was_measured_comes_back_even_where_an_operator_is_refused(tmp_path, monkeypatch):
    from nascli.errors import DeviceError, ModelRefusedError
    from nascli.lut.exchange.packs import read_pack
    from nascli.pipeline.measure.remote import run_plan
    from nascli.profiles.runtimes.ort_cpu import OrtCpu
    from nascli.progress import Silent

    written = write_plan(load_space(SPACE), where(), tmp_path)
    plain, count = OrtCpu.load, []

    def refusing(self, model, options):
        count.append(len(model))
        if len(count) > 1 and len(model) == max(count[1:4]):
            raise ModelRefusedError("no kernel")
        return plain(self, model, options)

    monkeypatch.setattr(OrtCpu, "load", refusing)
    pack = tmp_path / "p.parquet"
    with pytest.raises(DeviceError, match="refuses"):
        run_plan(
            written.file,
            pack,
            Execution(store=tmp_path / "lab.sqlite"),
            seed=0,
            progress=Silent(),
        )
    assert read_pack(pack).count > 100


def test_a_plan_says_what_the_clock_is_held_at(tmp_path):
    written = write_plan(load_space(SPACE), where("titanxp"), tmp_path, clock="1404")
    plan = read_plan(written.file)
    assert plan.clock == "1404" and plan.target().clock_mhz == 1404
