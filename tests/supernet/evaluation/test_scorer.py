import pytest
import torch

from nascli.errors import CheckpointError
from nascli.supernet.data.images import load_images
from nascli.supernet.evaluation.accuracy import Accuracy, SupernetEvaluator
from nascli.supernet.evaluation.prefix_tree import PrefixTree
from nascli.supernet.evaluation.scorer import TreeScorer, pack_weights, prefix_batches, scorer_from_weights
from nascli.supernet.separate import Supernet


@pytest.fixture
def supernet(tiny):
    torch.manual_seed(0)
    return Supernet(tiny)


def test_scores_are_the_evaluations_here_and_elsewhere(tiny, supernet):
    images = load_images("digits", 8)
    architectures = [(0, 1, 2, 3), (0, 1, 2, 0), (3, 2, 1, 0)]
    scores = TreeScorer(supernet, images, calibration=128)(architectures)
    threads = torch.get_num_threads()
    elsewhere = scorer_from_weights(tiny.spec, "digits", pack_weights(supernet), 128, threads)
    assert elsewhere(architectures[1:]) == scores[1:]
    alone = SupernetEvaluator(supernet, images, calibration=128)
    for architecture, (top1, negative_loss) in zip(architectures, scores, strict=True):
        expected = alone(architecture)
        assert top1 == pytest.approx(expected.top1, abs=1e-9)
        assert negative_loss == pytest.approx(-expected.loss, abs=1e-4)
    with pytest.raises(CheckpointError, match="does not fit"):
        scorer_from_weights("proxyless-mini:resolution=8", "digits", pack_weights(supernet), 128, threads)


def test_a_loss_that_is_not_finite_is_the_worst_score(supernet, monkeypatch):
    monkeypatch.setattr(PrefixTree, "accuracies", lambda *given, **options: [Accuracy(0.1, float("inf"))])
    assert TreeScorer(supernet, None, calibration=1)([(0, 1, 2, 3)]) == [(0.1, -1e30)]


def test_batches_are_of_neighbours():
    architectures = [(1, 1), (0, 2), (1, 0), (0, 0), (0, 1)]
    assert list(prefix_batches(architectures, 2)) == [[(0, 0), (0, 1)], [(0, 2), (1, 0)], [(1, 1)]]
    assert [len(batch) for batch in prefix_batches([(i,) for i in range(70)])] == [32, 32, 6]
    assert list(prefix_batches([])) == []
