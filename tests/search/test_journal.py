import json

import pytest

from nascli.errors import RunError
from nascli.search.base import Evaluation, Score
from nascli.search.journal import Journal


def test_a_line_cut_short_is_dropped_and_a_damaged_one_refused(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path)
    journal.add(Evaluation((1, 2), Score(0.5, 0.25), 0.1))
    journal.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"codes": [3')
    journal = Journal(path)
    assert list(journal.evaluations) == [(1, 2)] and path.read_bytes() == whole
    journal.close()
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(RunError, match="line 1 of .* is damaged"):
        Journal(path)
    with pytest.raises(RunError, match="cannot use the journal"):
        Journal(tmp_path)
    assert json.loads(whole)["tie_break"] == 0.25


def test_codes_that_are_no_numbers_are_damage(tmp_path):
    (tmp_path / "j").write_text('{"codes": [1e999], "value": 1, "tie_break": 0, "seconds": 1}\n')
    with pytest.raises(RunError, match="line 1 of .* is damaged"):
        Journal(tmp_path / "j")


def test_evaluations_are_read_as_they_were_written(tmp_path):
    evaluations = [
        Evaluation((1, 2), Score(0.5, 0.25), 0.1),
        Evaluation((3, 4), None, 2.0, "no answer"),
    ]
    journal = Journal(tmp_path / "j")
    for evaluation in evaluations:
        journal.add(evaluation)
    journal.close()
    journal = Journal(tmp_path / "j")
    assert list(journal) == evaluations
    journal.close()
    first, second = map(json.loads, (tmp_path / "j").read_text().splitlines())
    assert first == {"codes": [1, 2], "value": 0.5, "tie_break": 0.25, "seconds": 0.1}
    # Version 0.1.0 reads a score of a failure too.
    assert second == {"codes": [3, 4], "value": 0.0, "tie_break": 0.0, "seconds": 2.0, "failure": "no answer"}


def test_a_journal_of_something_else_is_refused(tmp_path):
    journal = Journal(tmp_path / "j", {"space": "a"})
    journal.add(Evaluation((1,), Score(0.5), 0.1))
    journal.close()
    journal = Journal(tmp_path / "j", {"space": "a"})
    assert list(journal.evaluations) == [(1,)]
    journal.close()
    with pytest.raises(RunError, match="keeps evaluations of something else: space was 'a' and is now 'b'"):
        Journal(tmp_path / "j", {"space": "b"})
