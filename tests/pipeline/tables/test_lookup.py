from dataclasses import replace

import numpy as np
import pytest

from nascli.errors import DeviceError, StoreError, UnknownNameError
from nascli.execution import Execution
from nascli.lut import Sample, Setup, Store, program_key
from nascli.pipeline.tables.lookup import device_key, read_table, read_table_of, stored_setup
from nascli.profiles.devices.device import this_cpu
from nascli.profiles.target import TargetSpec
from nascli.spaces.operators.inverted_residual import mbconv

BASE = Setup("titanxp", "tensorrt", "10", "fp32", 16, 1)
SPEC = TargetSpec(device="titanxp")


def add(path, *setups):
    """Tables of one operator each."""
    operator = mbconv((8, 4, 4), 8)
    with Store(path) as store:
        store.add_operators([operator])
        for number, setup in enumerate(setups, 1):
            store.add_setup(setup, {})
            rows = [Sample(r, np.full(3, number * 1e-3), 1e-3, 1.0 + r) for r in range(3)]
            store.add_samples(setup, {program_key(operator.program): rows})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.sqlite"


def stored(path, spec):
    with Store(path) as store:
        return stored_setup(spec, store)


def test_cpu_is_this_machine_and_a_number_of_a_card_is_no_part_of_its_key():
    assert device_key("cpu") == this_cpu().key
    assert device_key("titanxp:1") == device_key("titanxp") == "titanxp"


def test_the_only_table_of_a_device_is_the_one_that_is_meant(path):
    add(path, BASE, replace(BASE, device="p100"))
    assert stored(path, SPEC) == stored(path, replace(SPEC, device="titanxp:1")) == BASE


@pytest.mark.parametrize(
    "changes",
    [{"batch": 8}, {"precision": "fp16"}, {"threads": 4}, {"cuda_graph": True}, {"runtime": "ort-cuda"}],
)
def test_a_table_of_another_batch_precision_threads_mode_or_runtime_is_not_taken(path, changes):
    add(path, BASE)
    with pytest.raises(StoreError, match="a table of titanxp must be of one runtime") as caught:
        stored(path, replace(SPEC, **changes))
    assert BASE.label in str(caught.value)
    assert set(caught.value.remedies[0].arguments) == {"batch", "precision", "threads", "runtime"}


def test_among_several_tables_the_setup_decides(path):
    tables = [
        BASE,
        replace(BASE, batch=8),
        replace(BASE, precision="fp16"),
        replace(BASE, threads=2),
        replace(BASE, mode=TargetSpec(cuda_graph=True).options().mode),
    ]
    add(path, *tables)
    specs = [
        SPEC,
        replace(SPEC, batch=8),
        replace(SPEC, precision="fp16"),
        replace(SPEC, threads=2),
        replace(SPEC, cuda_graph=True),
    ]
    assert [stored(path, spec) for spec in specs] == tables


def test_tables_of_several_runtimes_need_one_to_be_named(path):
    other = replace(BASE, runtime="ort-cuda")
    add(path, BASE, other)
    with pytest.raises(StoreError, match="must be of one runtime"):
        stored(path, SPEC)
    assert stored(path, replace(SPEC, runtime="ort-cuda")) == other


def test_of_several_versions_of_a_runtime_the_last_one_added_counts(path):
    newer = replace(BASE, runtime_version="9")
    add(path, BASE, newer)
    assert stored(path, SPEC) == newer


def test_a_device_without_samples_must_be_here(path):
    with Store(path) as store:
        store.add_setup(BASE, {})
    # The setup alone is no table.
    with pytest.raises((DeviceError, StoreError), match="titanxp"):
        stored(path, SPEC)
    with pytest.raises(UnknownNameError, match="toaster"):
        stored(path, replace(SPEC, device="toaster"))


def test_cpu_means_what_would_be_measured_now_whatever_old_tables_there_are(path):
    old = Setup(this_cpu().key, "ort-cpu", "0.1", "fp32", 16, 1)
    add(path, old)
    assert stored(path, TargetSpec()).runtime_version != "0.1"
    # By its key, the same machine is one whose stored table is meant.
    assert stored(path, TargetSpec(device=this_cpu().key)) == old


def test_a_table_is_read_as_the_store_has_it(path):
    add(path, BASE, replace(BASE, batch=8))
    table = read_table(replace(SPEC, batch=8), Execution(store=path))
    (figure,) = table.estimates.values()
    assert table.setup.batch == 8 and figure.seconds == pytest.approx(2e-3)


def test_a_store_that_is_named_and_not_there_is_not_made(path):
    with pytest.raises(StoreError, match="there is no store at"):
        read_table(SPEC, Execution(store=path))
    assert not path.exists()


def test_another_device_s_table_has_the_same_batch_and_precision_but_its_own_runtime(path):
    add(path, BASE, replace(BASE, batch=8))
    here = TargetSpec(runtime="ort-cpu", batch=8)
    assert read_table_of(here, Execution(store=path), "titanxp").setup == replace(BASE, batch=8)
    with pytest.raises(StoreError, match="batch 4"):
        read_table_of(replace(here, batch=4), Execution(store=path), "titanxp")
    with pytest.raises(StoreError, match=r"a constraint on p100 needs a table of it.*found: none") as caught:
        read_table_of(here, Execution(store=path), "p100")
    assert caught.value.remedies[0].job == "list_tables"
