import pytest
import torch
from torch import nn

from nascli.supernet.data.images import load_images
from nascli.supernet.data.splits import MemorySplit
from nascli.supernet.evaluation.accuracy import SupernetEvaluator, accuracy, wilson_interval
from nascli.supernet.separate import Supernet


def test_accuracy_and_its_interval():
    split = MemorySplit(
        torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 0]]).view(4, 2, 1, 1), torch.tensor([0, 1, 0, 1])
    )
    assert accuracy(lambda x: x.flatten(1), split).top1 == 0.75
    # Wilson's interval of 8 in 10, as tabulated.
    assert wilson_interval(0.8, 10) == pytest.approx((0.490, 0.943), abs=1e-3)
    assert wilson_interval(1.0, 100)[1] == pytest.approx(1.0)


def test_an_evaluation_does_not_depend_on_those_before(tiny):
    images = load_images("digits", 8)
    torch.manual_seed(0)
    evaluate = SupernetEvaluator(Supernet(tiny), images, calibration=128)
    first = evaluate([0, 1, 2, 3])
    evaluate([3, 2, 1, 0])
    assert evaluate([0, 1, 2, 3]) == first
    norms = [m for m in evaluate._supernet.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and not norm.training for norm in norms)
