import pytest

from nascli.errors import UnknownNameError
from nascli.profiles.devices.cards import cuda_ordinal
from nascli.profiles.devices.device import device_of_card, find_cards_here
from nascli.profiles.runtimes.openvino import OpenVino
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.profiles.runtimes.ort_gpu import OrtCuda, OrtTensorrt
from nascli.profiles.runtimes.registry import get_runtime
from nascli.profiles.runtimes.tensorrt.runtime import TensorRt
from nascli.testing.runtimes import CardRuntimeContract, RuntimeContract


class TestOrtCpu(RuntimeContract):
    def runtime(self):
        return OrtCpu()


class TestOpenVino(RuntimeContract):
    def runtime(self):
        return OpenVino()


class OnCard(CardRuntimeContract):
    """The contract on the first card that is here."""

    made = None

    def runtime(self):
        runtime = self.made()
        cards, reason = find_cards_here()
        if not cards:
            pytest.skip(f"no card: {reason}")
        why = runtime.refuses(device_of_card(cards[0])) or runtime.missing()
        if why is not None:
            pytest.skip(why)
        cuda_ordinal(cards[0], cards[:1])
        return runtime


@pytest.mark.gpu
class TestOrtCuda(OnCard):
    made = OrtCuda


@pytest.mark.gpu
class TestOrtTensorrt(OnCard):
    made = OrtTensorrt


@pytest.mark.gpu
class TestTensorRt(OnCard):
    made = TensorRt


def test_runtimes_by_name():
    assert get_runtime("tensorrt").name == "tensorrt"
    with pytest.raises(UnknownNameError, match="unknown runtime 'ort-cpv'"):
        get_runtime("ort-cpv")


@pytest.mark.parametrize("made", [OrtCpu, OpenVino, OrtCuda, OrtTensorrt, TensorRt])
def test_what_holds_for_every_runtime_without_its_device(made):
    runtime = made()
    assert runtime.name and "fp32" in runtime.precisions and runtime.warmup_seconds >= 0
    assert set(runtime.modes) <= {"cuda_graph", "rotate"}
    missing = runtime.missing()
    assert missing is None or ": " in missing, "what is missing, and how to get it"
