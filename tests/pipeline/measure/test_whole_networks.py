import pytest
from simulated_devices import DEVICES, fill_this_machine, truth

from nascli.errors import ArchitectureError, DeviceError
from nascli.execution import Execution
from nascli.lut import Store, program_key
from nascli.pipeline.measure.whole_networks import measure_network, measure_networks
from nascli.profiles.protocol import MeasurementProtocol
from nascli.profiles.target import TargetSpec
from nascli.progress import Silent
from nascli.spaces import Architecture

SPEC = TargetSpec(batch=4)


@pytest.fixture
def rows(tiny, rng):
    return list(dict.fromkeys(tuple(map(int, row)) for row in tiny.sample(4, rng)))


@pytest.fixture
def execution(tmp_path, tiny, rows):
    """A store that has the networks' figures, but does not know to which space they belong."""
    path = tmp_path / "s.sqlite"
    fill_this_machine(path, DEVICES["alpha"], tiny, rows, noted=False)
    return Execution(store=path)


def noted(execution, space):
    with Store(execution.store) as store:
        return store.networks(space.digest)


def test_figures_come_in_the_order_of_their_networks(execution, tiny, rows):
    networks = [tiny.network(row) for row in reversed(rows)]
    options = {"protocol": MeasurementProtocol(), "seed": 0, "progress": Silent()}
    figures = measure_networks(networks, SPEC, execution, **options)
    exact = [truth(network.program, DEVICES["alpha"]) for network in networks]
    assert [figure.seconds for figure in figures] == pytest.approx(exact) and len(set(exact)) > 1
    assert noted(execution, tiny) == {}
    measure_networks(networks[:2], SPEC, execution, members=(tiny, rows[::-1][:2]), **options)
    keys = [program_key(network.program) for network in networks]
    assert noted(execution, tiny) == dict(zip(keys[:2], rows[::-1], strict=False))


def test_a_measured_architecture_is_noted_for_its_space_and_a_bare_network_is_not(
    tmp_path, execution, tiny, rows
):
    architecture = Architecture.of(tiny, tiny.check([rows[0]])[0], "mine")
    figure = measure_network(architecture.network, SPEC, execution, progress=Silent())
    assert figure.seconds == pytest.approx(truth(architecture.network.program, DEVICES["alpha"]))
    assert noted(execution, tiny) == {}
    architecture.save(tmp_path / "a.json")
    assert measure_network(tmp_path / "a.json", SPEC, execution, progress=Silent()) == figure
    assert list(noted(execution, tiny).values()) == [rows[0]]


def test_what_cannot_be_read_or_is_not_here_is_told(tmp_path, execution, tiny, rows):
    with pytest.raises(ArchitectureError, match="cannot read"):
        measure_network(tmp_path / "none.json", SPEC, execution, progress=Silent())
    with pytest.raises(DeviceError, match="titanxp"):
        measure_network(tiny.network(rows[0]), TargetSpec(device="titanxp"), execution, progress=Silent())
