import math

import pytest

from nascli.errors import RunError
from nascli.files import read_json, reading, write_json
from nascli.search.run_folder import COSTS, SETTINGS, RunFolder


def test_a_run_that_was_refused_leaves_its_folder_to_the_corrected_command(tmp_path):
    with RunFolder(tmp_path / "r", {"device": "titanxp", "effort": {"epochs": 3}}):
        pass
    with RunFolder(tmp_path / "r", {"device": "cpu", "effort": {"epochs": 3}}) as folder:
        assert read_json(folder.file(SETTINGS))["device"] == "cpu"
        # From here on something of the run is there.
        write_json(folder.file(COSTS), {"any": 1})
    with RunFolder(tmp_path / "r", {"device": "cpu", "effort": {"epochs": 3}}):
        pass
    with pytest.raises(RunError, match=r"with other settings: effort\.epochs was 3 and is now 4\.") as caught:
        RunFolder(tmp_path / "r", {"device": "cpu", "effort": {"epochs": 4}}).__enter__()
    assert "remove the folder" in str(caught.value)


def test_one_process_at_a_time(tmp_path):
    with RunFolder(tmp_path / "r", {}), pytest.raises(RunError, match="another process is working"):
        RunFolder(tmp_path / "r", {}).__enter__()
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("")
    with pytest.raises(RunError, match=r"is not a run: it holds thesis\.tex"):
        RunFolder(tmp_path / "own", {}).__enter__()


@pytest.mark.parametrize(
    "use", [lambda: math.exp(1e9), lambda: 1 / 0, lambda: {}["x"], lambda: int(None), lambda: [][0]]
)
def test_what_a_wrong_document_does_to_its_reader_is_damage(tmp_path, use):
    with pytest.raises(RunError, match="is damaged"), reading(tmp_path / "story.json"):
        use()
