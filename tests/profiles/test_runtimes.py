import pytest

from nascli.errors import UnknownNameError
from nascli.profiles.runtimes import all_runtimes, get_runtime
from nascli.profiles.runtimes.ort_cpu import OrtCpu
from nascli.testing.runtimes import RuntimeContract


class TestOrtCpu(RuntimeContract):
    def runtime(self):
        return OrtCpu()


def test_runtimes_by_name():
    assert list(all_runtimes()) == ["ort-cpu"]
    with pytest.raises(UnknownNameError, match="unknown runtime 'ort-cpv'"):
        get_runtime("ort-cpv")
