import json
import shutil
from pathlib import Path

import pytest

from nascli.errors import RunError
from nascli.pipeline.run.report import write_comparison, write_report

FROZEN = Path(__file__).parents[2] / "data" / "frozen" / "finished"
RUNS = sorted(path.name for path in FROZEN.iterdir())


def copied(run, folder):
    return Path(shutil.copytree(FROZEN / run, folder / run))


@pytest.mark.parametrize("run", RUNS)
def test_a_report_written_twice_is_the_same(tmp_path, run):
    folder = copied(run, tmp_path)
    page = write_report(folder)
    first = page.read_bytes()
    assert page == folder / "report.html" and write_report(folder).read_bytes() == first
    # Its place on the disk is no part of it.
    assert write_report(copied(run, tmp_path / "elsewhere")).read_bytes() == first


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("result.json", r"is not a finished run: it has no result\.json"),
        ("costs.json", r"has no costs\.json"),
        ("evaluations.jsonl", "has no evaluations"),
    ],
)
def test_a_run_that_lost_a_file_has_no_report_and_the_file_is_named(tmp_path, lost, message):
    folder = copied("spos", tmp_path)
    (folder / lost).unlink()
    with pytest.raises(RunError, match=message):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_run_under_counted_costs_needs_no_latency_table(tmp_path):
    folder = copied("bits", tmp_path)
    assert not (folder / "costs.json").exists() and "bitops" in write_report(folder).read_text()


def test_a_damaged_result_is_told_as_an_error_of_the_run(tmp_path):
    folder = copied("spos", tmp_path)
    document = json.loads((folder / "result.json").read_text())
    document["predicted_latency_s"] = "soon"
    (folder / "result.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match="spos"):
        write_report(folder)


def test_runs_are_compared_by_short_names_and_by_paths_where_those_are_the_same(tmp_path):
    page = write_comparison([FROZEN / "spos", FROZEN / "nse"], tmp_path / "c.html").read_text()
    assert "spos" in page and str(FROZEN) not in page
    twins = [copied("spos", tmp_path / "a"), copied("spos", tmp_path / "b")]
    page = write_comparison(twins, tmp_path / "twins.html").read_text()
    assert all(str(twin) in page for twin in twins)


def test_only_finished_runs_with_measurements_are_compared(tmp_path):
    for run in (FROZEN / "bits", tmp_path):
        with pytest.raises(RunError, match="is not a finished run with measurements") as caught:
            write_comparison([FROZEN / "spos", run], tmp_path / "c.html")
        assert str(run) in str(caught.value)
    assert not (tmp_path / "c.html").exists()


def test_a_page_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_comparison([FROZEN / "spos"], tmp_path / "taken" / "c.html")
