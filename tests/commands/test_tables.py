import json

import pytest
from commanding import TINY, run


@pytest.mark.usefixtures("quick_measuring")
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
    assert "thread removed" in run("lut", "remove", "--batch", "3", "--yes", "--store", other).stdout
    assert (
        "nothing was measured"
        in run("lut", "remove", "--batch", "3", "--yes", "--store", other, expect=1).stderr
    )


def test_another_tools_table_is_imported_shown_and_removed(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,0.5\n")
    refused = run("lut", "import", str(file), "--format", "csv", expect=1).stderr
    assert "does not say its device and its batch" in refused and "--device titanxp --batch 128" in refused
    place = ["--device", "titanxp", "--batch", "8"]
    found = json.loads(run("lut", "import", str(file), "--format", "csv", *place, "--json").stdout)
    assert found[0]["new"] == 1
    (row,) = json.loads(run("lut", "show", *place, "--json").stdout)
    assert (row["kind"], row["seconds"]) == ("imported", 0.0005)
    run("lut", "remove", *place, "--yes")
    assert "is not in this machine" in run("lut", "show", *place, expect=1).stderr


def test_a_table_at_another_number_of_threads_is_another_table(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,0.5\n")
    place = ["--device", "titanxp", "--batch", "8"]
    run("lut", "import", str(file), "--format", "csv", *place)
    refused = run("lut", "remove", *place, "--threads", "8", "--yes", expect=1).stderr
    assert "8 threads" in refused and "1 thread" in refused
    assert "8 threads" in run("lut", "show", *place, "--threads", "8", expect=1).stderr
    asked = run("lut", "remove", *place, expect=1)
    assert "imported from csv, fp32, batch 8, 1 thread" in asked.stdout
    assert "samples of titanxp" in run("lut", "remove", *place, "--yes").stdout


def test_cpu_is_a_name_for_this_machine_only(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("kind,height,width,cin,cout,kernel,stride,ms\nconv,14,14,16,24,3,2,0.5\n")
    given = ["lut", "import", str(file), "--format", "csv", "--device", "cpu", "--batch", "8"]
    assert "means whatever machine nascli runs on" in run(*given, expect=1).stderr


@pytest.mark.usefixtures("quick_measuring")
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
