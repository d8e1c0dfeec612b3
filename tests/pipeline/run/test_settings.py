import pytest

from nascli.errors import ConstraintError, NascliError, UnknownNameError
from nascli.pipeline.run.settings import Effort, with_settings


def test_values_of_every_kind():
    effort = with_settings(
        Effort(),
        ["nse.threshold=-3", "nse.lock=false", "nse.rounds=none", "nse.candidates=6", "fitness.betas=0,0.999",
         "autospace.compensation=delay", "finalists=2", "gates.weight=0.5", "fitness.weight=None"],
    )  # fmt: skip
    assert (effort.nse.threshold, effort.nse.lock, effort.nse.rounds, effort.nse.candidates) == (
        -3.0,
        False,
        None,
        6,
    )
    assert effort.fitness.betas == (0.0, 0.999) and effort.fitness.weight is None
    assert effort.autospace.compensation == "delay" and effort.finalists == 2 and effort.gates.weight == 0.5
    assert Effort().nse.lock is True


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("nse", ConstraintError, "NAME=VALUE"),
        ("nso.lock=true", UnknownNameError, "nse"),
        ("nse.locks=true", UnknownNameError, "lock"),
        ("nse.lock=maybe", ConstraintError, "lock takes bool"),
        ("nse.samples=many", ConstraintError, "samples takes int"),
        ("nse.lock=none", ConstraintError, "lock takes bool"),
        ("nse.candidates=1", NascliError, "candidates >= 2"),
        ("fitness.betas=x", ConstraintError, "numbers with commas"),
        ("finalists=0", NascliError, "finalists >= 1"),
        ("gates.betas=0", NascliError, "two numbers"),
        ("autospace.cells=60", NascliError, "cells < population"),
        ("nse=3", UnknownNameError, "hyper-parameter"),
    ],
)
def test_what_cannot_be_set(text, error, message):
    with pytest.raises(error, match=message):
        with_settings(Effort(), [text])
