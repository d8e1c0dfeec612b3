"""On a real Ray cluster of two nodes on this machine, one of which is killed."""

import sys
import time

import numpy as np
import pytest

from nascli.costmodel import BoundedCost, Constraint, FeasibleSet, counted
from nascli.errors import DeviceError, RuntimeUnavailableError
from nascli.execution import Execution
from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.subjects import space_subjects
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.search.driver import drive
from nascli.search.evaluators.batched import LocalEvaluator, RayEvaluator
from nascli.search.journal import Journal
from nascli.search.spos.search import SposSearcher
from nascli.search.spos.settings import SposSettings
from nascli.spaces import load_space
from nascli.supernet.data.images import load_images
from nascli.supernet.evaluation.scorer import TreeScorer, pack_weights, prefix_batches, scorer_from_weights
from nascli.supernet.separate import Supernet

ray = pytest.importorskip("ray")
SPACE = load_space("proxyless-mini:resolution=8,width=0.25,depth=1")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    from ray.cluster_utils import Cluster

    home = tmp_path_factory.mktemp("home")
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    found.spare = found.add_node(num_cpus=1)
    found.device = found.add_node(
        num_cpus=0, resources={"nascli-cpu": 1}, env_vars={"NASCLI_HOME": str(home)}
    )
    found.wait_for_nodes()
    yield found
    ray.shutdown()
    found.shutdown()


def slow(*given):
    """A scorer that takes a while, so that something is under way when a node is killed."""
    scorer = scorer_from_weights(*given)

    def score(rows):
        time.sleep(0.6)
        return scorer(rows)

    return score


def test_a_node_that_is_killed_costs_time_and_nothing_else(cluster, tmp_path):
    import torch

    # The nodes do not have this file.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    torch.manual_seed(0)
    supernet = Supernet(SPACE)
    images = load_images("digits", 8)
    macs = counted(SPACE, "macs")
    feasible = FeasibleSet(
        SPACE, [BoundedCost(Constraint("macs", -np.inf, (macs.minimum + macs.maximum) / 2), macs)]
    )

    def search(evaluator, file):
        searcher = SposSearcher(feasible, SposSettings(population=8, generations=3), np.random.default_rng(0))
        journal = Journal(tmp_path / file)
        try:
            return drive(searcher, evaluator, journal, Silent()), journal
        finally:
            journal.close()

    def small(keys):
        return prefix_batches(keys, 2)

    here, _ = search(LocalEvaluator(TreeScorer(supernet, images, calibration=128), small), "here")
    given = (SPACE.spec, "digits", pack_weights(supernet), 128, 1)
    pool = RayEvaluator(slow, given, small, address=cluster.address, workers=2)
    answered = []
    original, killed = pool.evaluate, []

    def watched(keys):
        for answer in original(keys):
            answered.append(answer.architecture)
            if len(answered) == 2:
                cluster.remove_node(cluster.spare, allow_graceful=False)
                killed.append(True)
            yield answer

    pool.evaluate = watched
    there, _ = search(pool, "there")
    pool.close()
    assert killed and len(answered) == len(set(answered))
    assert [e.architecture for e in there.evaluations] == [e.architecture for e in here.evaluations]
    for a, b in zip(there.evaluations, here.evaluations, strict=True):
        assert a.score.value == pytest.approx(b.score.value, abs=1e-9)


def test_a_device_of_the_cluster_is_measured_into_this_store(cluster, tmp_path):
    from nascli.pipeline.measure.remote import profile_on_ray

    spec = TargetSpec(batch=2)
    execution = Execution(store=tmp_path / "store.sqlite", ray=cluster.address)
    brought = profile_on_ray(SPACE, spec, execution, progress=Silent())
    assert brought.new == brought.pack.samples > 100
    with Store(execution.store) as store:
        ((setup, _, _),) = store.setups()
        assert LatencyTable.read(store, setup).missing(space_subjects(SPACE, 16)) == []
    # Asked again, the node measures nothing and this store learns nothing.
    again = profile_on_ray(SPACE, spec, execution, progress=Silent())
    assert again.new == 0 and again.pack.samples == brought.pack.samples
    with pytest.raises(DeviceError, match="no node of the cluster has titanxp; it has: cpu"):
        profile_on_ray(SPACE, TargetSpec(device="titanxp", batch=2), execution, progress=Silent())


def broken():
    raise ValueError("no such data set here")


def test_workers_that_cannot_begin_are_told_at_once(cluster):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    pool = RayEvaluator(broken, (), lambda keys: iter([list(keys)]), address=cluster.address, workers=1)
    with pytest.raises(RuntimeUnavailableError, match=r"die \(1 so far\): .*no such data set here"):
        list(pool.evaluate([(0, 1)]))


def test_no_cluster_is_said(cluster):
    ray.shutdown()
    from nascli.search.evaluators.batched import connect

    with pytest.raises(RuntimeUnavailableError, match="no Ray cluster answers at '127.0.0.1:1'"):
        connect("127.0.0.1:1")
