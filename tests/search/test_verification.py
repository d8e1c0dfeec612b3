import pytest

from nascli.commands.hints import error_as_text
from nascli.errors import InfeasibleError
from nascli.lut import Measurement
from nascli.search.base import Evaluation, Score
from nascli.search.verification import verify

RANKED = [Evaluation((i,), Score(1 - i / 100), 0.1) for i in range(20)]


def predict(entry):
    return 8e-3 - entry.architecture[0] * 1e-4


def device(factor, width=0.0, log=None):
    def measure(entries):
        if log is not None:
            log.append([e.architecture[0] for e in entries])
        return [Measurement(predict(e) * factor, 0.0, predict(e) * (factor + width), 12) for e in entries]

    return measure


def test_finalists_within_the_budget_stay():
    finalists = verify(RANKED, predict, device(0.97), (0.0, 8e-3), 3)
    assert [f.evaluation.architecture[0] for f in finalists if f.within] == [0, 1, 2]


def test_the_interval_must_fit_too():
    finalists = verify(RANKED, predict, device(0.995, width=0.01), (0.0, 8e-3), 3)
    assert [f.within for f in finalists] == [False, True, True]


def test_an_optimistic_model_learns_and_goes_on():
    log = []
    finalists = verify(RANKED, predict, device(1.1, log=log), (0.0, 8e-3), 3)
    # After the first three the model knows its factor of 1.1: only those of 7.27 ms and less are tried.
    assert log == [[0, 1, 2], [8, 9, 10]]
    assert all(f.within for f in finalists if f.evaluation.architecture[0] >= 8)


def test_a_budget_that_nobody_keeps_says_by_how_much():
    with pytest.raises(
        InfeasibleError, match=r"none of 3 measured candidates keeps the budget of 8.00 ms"
    ) as caught:
        verify(RANKED, predict, device(3.0), (0.0, 8e-3), 3, {"space": "s"})
    assert "+200%" in str(caught.value) and "Measure it anew" in str(caught.value)
    typed = error_as_text(caught.value)
    assert "nascli profile --space s --older-than 1s; nascli calibrate --space s" in typed
    # A few percent too much is no reason to doubt the table.
    with pytest.raises(InfeasibleError, match="Allow a wider budget") as caught:
        verify(RANKED[:2], predict, device(1.09), (0.0, predict(RANKED[1]) * 1.02), 3)
    assert error_as_text(caught.value).endswith("nascli calibrate; --confidence 0.9")


def test_a_lower_end_is_kept_too():
    def measure(entries):
        return [Measurement(predict(e), predict(e) * 0.99, predict(e) * 1.01, 12) for e in entries]

    finalists = verify(RANKED, predict, measure, (7.0e-3, 7.7e-3), 6)
    assert [f.evaluation.architecture[0] for f in finalists if f.within] == [4, 5]
