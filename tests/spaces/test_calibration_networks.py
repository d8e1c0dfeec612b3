import hashlib

import pytest

from nascli.errors import UnknownNameError
from nascli.spaces.calibration_networks import VERSION, calibration_network, calibration_networks
from nascli.spaces.counts import count
from nascli.spaces.reference_networks import reference_network


def test_the_list_covers_families_sizes_and_resolutions():
    networks = calibration_networks()
    assert 25 <= len(networks) <= 40 and len({network.name for network in networks}) == len(networks)
    # With 19 to 29 families one of them may be an outlier, and 90 % intervals still hold the others.
    assert 19 <= len({network.family for network in networks}) <= 29
    counts = [count(network.program) for network in networks]
    assert min(c.weight_bytes for c in counts) < 4e6 and 3e7 < max(c.weight_bytes for c in counts) < 5e7
    assert min(c.macs for c in counts) < 3e7 and 1e9 < max(c.macs for c in counts) < 2e9
    sizes = {network.program.input.height for network in networks}
    assert min(sizes) == 96 and max(sizes) == 224
    assert all(network.name.endswith(f"-{network.program.input.height}") for network in networks)


def test_every_network_is_good_for_every_batch():
    assert all(
        network.program.batch is None and not network.program.low_bit for network in calibration_networks()
    )


def test_published_networks_are_those_of_the_reference_networks():
    assert calibration_network("resnet18-224").program == reference_network("resnet18").program
    with pytest.raises(UnknownNameError, match="Did you mean resnet18-224"):
        calibration_network("resnet18-22")


def test_a_version_keeps_its_networks():
    """What is measured under a version is recognised later: a changed network needs a new name and a new version."""
    text = "\n".join(f"{n.family} {n.name} {n.program.canonical}" for n in calibration_networks())
    assert (VERSION, hashlib.sha256(text.encode()).hexdigest()[:16]) == (1, "b51444a9970def4d")
