import threading

import numpy as np
import pytest
from fakes import DEVICE, SimulatedMachine, SimulatedRuntime

from nascli.errors import RuntimeUnavailableError
from nascli.lut import Store
from nascli.profiles.profiling import Target, make_plan, network_operator, profile
from nascli.profiles.protocol import Protocol
from nascli.profiles.runtimes import RuntimeOptions
from nascli.progress import Silent
from nascli.spaces import make_space


def target(runtime=None, batch=4):
    return Target(DEVICE, runtime or SimulatedRuntime(SimulatedMachine()), RuntimeOptions(), batch)


def measured(operators, store, where):
    return profile(
        operators, store, where, protocol=Protocol(), rng=np.random.default_rng(0), progress=Silent()
    )


def test_a_second_space_measures_only_what_is_missing(tmp_path):
    small = make_space("proxyless-mini", resolution=8, width=0.25, depth=1)
    large = make_space("proxyless-mini", resolution=8, width=0.25, depth=2)
    with Store(tmp_path / "s") as store:
        measured(small.operators(), store, target())
        plan = make_plan(large.operators(), store, target(), Protocol())
        assert 0 < len(plan.todo) < len(plan.operators)
        runtime = SimulatedRuntime(SimulatedMachine())
        table = measured(large.operators(), store, target(runtime))
        assert len(runtime.loads) == len(plan.todo) + 1  # the anchor
        assert table.missing(large.operators()) == []
        runtime = SimulatedRuntime(SimulatedMachine())
        measured(large.operators(), store, target(runtime))
        assert runtime.loads == []


def test_batches_and_threads_have_tables_of_their_own(tmp_path, tiny):
    with Store(tmp_path / "s") as store:
        measured(tiny.operators(), store, target(batch=4))
        assert len(make_plan(tiny.operators(), store, target(batch=8), Protocol()).todo) > 5
        assert not make_plan(tiny.operators(), store, target(batch=4), Protocol()).todo


def test_networks_are_measured_like_operators(tmp_path, tiny, rng):
    network = tiny.network(tiny.sample(1, rng)[0], "mine")
    with Store(tmp_path / "s") as store:
        table = measured([network_operator(network)], store, target())
        assert table.lookup(network.program).seconds > 0
        assert table.to_pandas()["operator"][0].startswith("network mine")


def test_a_runtime_that_is_missing_says_so(tmp_path, tiny):
    with Store(tmp_path / "s") as store, pytest.raises(RuntimeUnavailableError, match="not here"):
        measured(tiny.operators(), store, target(SimulatedRuntime(SimulatedMachine(), "not here")))


def test_two_profilers_take_turns(tmp_path, tiny):
    inside, most = 0, 0
    lock = threading.Lock()

    class Watched(SimulatedRuntime):
        def load(self, model, options):
            nonlocal inside, most
            session = super().load(model, options)
            with lock:
                inside += 1
                most = max(most, inside)
            close = session.close

            def leave():
                nonlocal inside
                with lock:
                    inside -= 1
                close()

            session.close = leave
            return session

    def work(batch):
        with Store(tmp_path / "s") as store:
            measured(tiny.operators(), store, target(Watched(SimulatedMachine()), batch))

    alone = len([o for o in tiny.operators() if o.program.output]) + 1
    threads = [threading.Thread(target=work, args=(batch,)) for batch in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == alone
