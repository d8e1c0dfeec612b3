import pytest

from nascli.errors import ArchitectureError, UnknownNameError
from nascli.pipeline.inspect.count import NetworkCounts, OnnxCounts, SpaceCounts, count_target
from nascli.pipeline.inspect.listing import describe_space
from nascli.profiles.onnx.graphs import onnx_bytes
from nascli.spaces import Architecture, space_names
from nascli.spaces.reference_networks import network_names

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
STAGED = "nss-expanded-mini:resolution=8,widths=16,depths=4"


@pytest.fixture
def architecture(tiny, rng):
    return Architecture.of(tiny, tiny.sample(1, rng)[0], "mine")


def test_an_architecture_s_file_and_its_onnx_model_count_the_same(tmp_path, architecture):
    architecture.save(tmp_path / "a.json")
    model = tmp_path / "a.onnx"
    model.write_bytes(onnx_bytes(architecture.network.program, 3))
    network, onnx = count_target(str(tmp_path / "a.json"), check=False), count_target(str(model), check=False)
    assert isinstance(network, NetworkCounts) and isinstance(onnx, OnnxCounts)
    assert network.counts == architecture.network.counts and network.title.startswith("mine of proxyless")
    assert onnx.macs == network.counts.macs
    assert onnx.to_json()["not_counted"] == list(onnx.not_counted)


def test_blocks_of_a_network_add_up_to_it(tmp_path, architecture):
    architecture.save(tmp_path / "a.json")
    network = count_target(str(tmp_path / "a.json"), check=False)
    assert sum(block.counts.macs for block in network.blocks) == network.counts.macs
    assert sum(block.counts.params for block in network.blocks) == network.counts.params
    assert network.fvcore is None and "fvcore" not in network.to_json()


def test_a_reference_network_is_counted_by_name():
    name = network_names()[0]
    counted = count_target(name, check=False)
    assert counted.title == name and counted.to_json()["macs"] == counted.counts.macs > 0


@pytest.mark.parametrize("spec", [TINY, STAGED])
def test_a_space_is_counted_as_its_description_says(spec):
    counted, described = count_target(spec, check=False), describe_space(spec)
    assert isinstance(counted, SpaceCounts)
    assert counted.ranges["macs"] == described.macs and counted.ranges["params"] == described.params
    assert counted.to_json()["macs"] == list(described.macs)


def test_what_there_is_not_is_told_with_what_there_is():
    with pytest.raises(UnknownNameError, match="unknown network or space 'magic'") as caught:
        count_target("magic", check=False)
    assert network_names()[0] in str(caught.value) and space_names()[0] in str(caught.value)
    with pytest.raises(UnknownNameError, match="magic"):
        count_target("magic:width=2", check=False)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ArchitectureError, match="cannot read"):
        count_target(str(tmp_path / "none.json"), check=False)
