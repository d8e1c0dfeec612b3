import math
import threading

import numpy as np
import pytest
from fakes import DEVICE, FakeNvml, SimulatedMachine, SimulatedRuntime

from nascli.errors import DeviceError, ModelRefusedError, RuntimeUnavailableError
from nascli.lut import Store, program_key
from nascli.profiles.profiling import RemeasurePolicy, make_plan, network_operator, profile_operators
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.runtimes.base import RuntimeOptions
from nascli.profiles.target import Target
from nascli.progress import Silent
from nascli.spaces import make_space


def target(runtime=None, batch=4):
    return Target(DEVICE, runtime or SimulatedRuntime(SimulatedMachine()), RuntimeOptions(), batch)


def measured(operators, store, where):
    return profile_operators(
        operators,
        store,
        where,
        protocol=MeasurementProtocol(),
        rng=np.random.default_rng(0),
        progress=Silent(),
    )


def test_a_second_space_measures_only_what_is_missing(tmp_path):
    small = make_space("proxyless-mini", resolution=8, width=0.25, depth=1)
    large = make_space("proxyless-mini", resolution=8, width=0.25, depth=2)
    with Store(tmp_path / "s") as store:
        measured(small.operators(), store, target())
        plan = make_plan(large.operators(), store, target(), MeasurementProtocol())
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
        assert len(make_plan(tiny.operators(), store, target(batch=8), MeasurementProtocol()).todo) > 5
        assert not make_plan(tiny.operators(), store, target(batch=4), MeasurementProtocol()).todo


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


def card_target(nvml, monkeypatch, machine=None):
    """A simulated runtime on a card that NVML tells about."""
    from dataclasses import replace

    from nascli.profiles.devices import cards
    from nascli.profiles.devices.device import device_of_card

    monkeypatch.setattr(cards, "_nvml", lambda: nvml)
    device = device_of_card(cards.find_cards(nvml)[0])
    runtime = SimulatedRuntime(machine or SimulatedMachine())
    return replace(Target(DEVICE, runtime, RuntimeOptions(), 4), device=device), runtime


def on_card(target, store, **values):
    operators = [o for o in make_space("proxyless-mini", resolution=8).operators()][:6]
    return profile_operators(
        operators,
        store,
        target,
        protocol=MeasurementProtocol(),
        rng=np.random.default_rng(0),
        progress=Silent(),
        **values,
    ), operators


def test_the_state_of_a_card_is_kept_before_during_and_after(tmp_path, monkeypatch):

    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    target, _ = card_target(nvml, monkeypatch)
    with Store(tmp_path / "s") as store:
        table, _ = on_card(target, store)
        (visit,) = store.visits(table.setup)
        assert table.setup.device == "titanxp"
        assert visit.before["card"]["sm_mhz"] == visit.after["card"]["sm_mhz"] == 1404
        assert all(one.card["temperature"] == 61 for one in visit.rounds) and len(visit.rounds) >= 6
    assert nvml.open == 0


def test_a_run_during_which_the_card_throttled_is_unstable(tmp_path, monkeypatch):

    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    nvml.reasons = 0x40
    target, _ = card_target(nvml, monkeypatch)
    protocol = MeasurementProtocol()
    with Store(tmp_path / "s") as store:
        table, operators = on_card(target, store)
        figures = [table.lookup(o.program) for o in operators if o.program.output]
        assert all(f.throttled and not protocol.settled(f) for f in figures)
        # Once it has cooled down, --unstable measures anew, and then they have settled.
        nvml.reasons = 0
        table, _ = on_card(target, store, renewal=RemeasurePolicy(unstable=True))
        assert all(protocol.settled(table.lookup(o.program)) for o in operators if o.program.output)


def test_only_named_operators_are_measured_anew(tmp_path):
    operators = make_space("proxyless-mini", resolution=8, width=0.25, depth=1).operators()[:3]
    where = target()
    with Store(tmp_path / "s") as store:
        measured(operators, store, where)
        keys = frozenset([program_key(operators[1].program)])
        renewal = RemeasurePolicy(before=math.inf, keys=keys)
        plan = make_plan(operators, store, where, MeasurementProtocol(), renewal)
        assert plan.todo == [operators[1]] and plan.generations == [1]


def test_refused_operators_are_named_at_the_end_and_the_others_are_kept(tmp_path):
    runtime = SimulatedRuntime(SimulatedMachine())
    original, seen, bad = runtime.load, [], set()

    def load(model, options):
        seen.append(model)
        if len(seen) in (3, 5):
            bad.add(model)
        if model in bad:
            raise ModelRefusedError("out of memory")
        return original(model, options)

    runtime.load = load
    with Store(tmp_path / "s") as store:
        target = Target(DEVICE, runtime, RuntimeOptions(), 4)
        with pytest.raises(
            DeviceError, match=r"simulated refuses 2 of \d operators: .*: out of memory; .*out of memory"
        ) as caught:
            on_card(target, store)
        assert "The others are measured and kept" in str(caught.value)
        # Of the loads, one was the anchor's; the two that were refused were tried again alone.
        assert len(store.samples(target.setup())) == len(seen) - 1 - 2 * 2


def test_a_card_that_disappears_ends_the_run_and_what_was_measured_is_kept(tmp_path, monkeypatch):

    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    target, runtime = card_target(nvml, monkeypatch)
    asked = []
    original = nvml.nvmlDeviceGetCurrentClocksEventReasons

    def reasons(handle):
        asked.append(1)
        if len(asked) == 20:
            nvml.gone = True
        return original(handle)

    nvml.nvmlDeviceGetCurrentClocksEventReasons = reasons
    with Store(tmp_path / "s") as store:
        with pytest.raises(DeviceError, match="is gone"):
            on_card(target, store)
        kept = sum(map(len, store.samples(target.setup()).values()))
        assert 10 < kept < 20
        nvml.gone = False
        asked.extend([1] * 100)
        table, _ = on_card(target, store)
        assert len(table.estimates) >= 5
    assert all(session.closed for session in runtime.loads)


def test_ways_to_run_models_that_a_runtime_does_not_have(tmp_path):
    with Store(tmp_path / "s") as store:
        target = Target(DEVICE, SimulatedRuntime(SimulatedMachine()), RuntimeOptions(cuda_graph=True), 4)
        with pytest.raises(DeviceError, match="simulated has no CUDA graphs"):
            on_card(target, store)


def test_a_clock_left_locked_by_a_killed_process_is_unlocked_first(tmp_path, monkeypatch):

    from nascli.profiles.devices import clocks

    monkeypatch.setenv("NASCLI_HOME", str(tmp_path))
    nvml = FakeNvml(["NVIDIA TITAN Xp"])
    nvml.locked = (1404, 1404)
    target, _ = card_target(nvml, monkeypatch)
    mark = clocks._mark(target.device.card)
    mark.parent.mkdir(parents=True)
    mark.write_text("1404")
    with Store(tmp_path / "s") as store:
        on_card(target, store)
    assert nvml.locked is None and not mark.exists()
