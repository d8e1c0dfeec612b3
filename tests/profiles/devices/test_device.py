import pytest

from nascli.commands.hints import error_as_text
from nascli.errors import DeviceError, UnknownNameError
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.profiles.devices.device import find_device, this_cpu


def test_the_cpus_key_carries_its_model():
    cpu = this_cpu()
    assert cpu.key.startswith("cpu-") and cpu.cores >= 1
    assert find_device("cpu") is cpu and find_device(cpu.key) is cpu


@pytest.mark.parametrize("name", ["titanxp", "1080ti", "v100", "t4", "a100", "h100"])
def test_profiles_are_plausible_and_name_their_source(name):
    profile = data_sheets()[name]
    peak = dict(profile.peak)
    assert 1e12 < peak["fp32"] < 1e14 and 1e11 < profile.bandwidth < 1e13
    assert 1e9 < profile.memory < 1e12 and profile.source and profile.nvml_names
    assert all(value >= peak["fp32"] for value in peak.values())


def test_a_card_that_is_not_here_says_what_is_and_what_to_do():
    with pytest.raises(DeviceError) as caught:
        find_device("titanxp")
    assert "TITAN Xp" in str(caught.value) and "here is: cpu" in str(caught.value)
    typed = error_as_text(caught.value)
    assert "Or use this machine's CPU: --device cpu. See the tables that exist: nascli lut list." in typed
    assert "nascli profile --device titanxp --host user@machine" in typed
    assert typed.endswith("See titanxp's data sheet: nascli devices titanxp")


def test_other_names():
    with pytest.raises(DeviceError, match="another machine's CPU") as caught:
        find_device("cpu-amd-k6")
    assert "--device cpu" in error_as_text(caught.value)
    with pytest.raises(UnknownNameError, match="Did you mean titanxp"):
        find_device("titan-xp")
