import sys

import pytest

from nascli.errors import RuntimeUnavailableError
from nascli.pipeline.inspect.fvcore_count import compare_with_fvcore


@pytest.fixture
def network(tiny):
    return tiny.network([0] * len(tiny.layers))


def test_without_pooling_batch_normalisation_is_all_that_fvcore_counts_more(network):
    pytest.importorskip("fvcore")
    found = compare_with_fvcore(network)
    assert found.products == found.own_macs == network.counts.macs
    assert found.batch_norm == found.own_batch_norm > 0
    assert found.total == found.products + found.batch_norm
    assert found.other == 0 and not found.has_pooling
    assert found.not_counted == tuple(sorted(found.not_counted))
    assert found.to_json()["not_counted"] == list(found.not_counted)


def test_without_fvcore_it_says_what_to_install(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "fvcore.nn", None)
    with pytest.raises(RuntimeUnavailableError, match="fvcore"):
        compare_with_fvcore(network)
