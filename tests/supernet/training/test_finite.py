import math

import torch

from nascli.supernet.training.finite import FiniteWatch, Health

CPU = torch.device("cpu")


def recorded(*rows):
    watch = FiniteWatch(CPU)
    for loss, norm in rows:
        watch.record(torch.tensor(loss), torch.tensor(norm))
    return watch


def test_the_last_loss_is_kept_while_all_is_finite():
    assert math.isnan(recorded().loss)
    watch = recorded((3.0, 1.0), (2.0, 1.0))
    assert watch.loss == 2.0 and watch.read() == Health(2.0)


def test_the_first_failure_is_named_with_its_step():
    nan, inf = math.nan, math.inf
    norm = recorded((3.0, 1.0), (2.0, inf), (nan, nan), (nan, nan)).read()
    assert (norm.failed, norm.value, norm.steps) == ("norm of the gradient", inf, 1)
    loss = recorded((3.0, 1.0), (2.0, 1.0), (inf, nan), (nan, nan)).read()
    assert (loss.failed, loss.loss, loss.value, loss.steps) == ("loss", inf, inf, 2)
    # A value that is finite again does not hide it.
    assert recorded((nan, nan), (1.0, 1.0)).read().failed == "loss"


def test_steps_are_counted_from_the_last_look():
    watch = recorded((3.0, 1.0), (2.0, 1.0))
    watch.read()
    watch.record(torch.tensor(1.0), torch.tensor(1.0))
    watch.record(torch.tensor(math.nan), torch.tensor(1.0))
    assert watch.read().steps == 1
