import pytest
from simulated_devices import DEVICES, add_table

from nascli.lut import LatencyTable, Store
from nascli.pipeline.measure.peaks import Peaks, from_data_sheet, measured_peaks, peak_operators
from nascli.profiles.devices.cards import Card
from nascli.profiles.devices.device import Device
from nascli.spaces.counts import count

PEAKS = Peaks(1e9, ((1e6, 4e9), (1e8, 1e9)), "here")


def test_bandwidth_lies_between_copies_and_stays_at_their_ends():
    assert PEAKS.bytes_per_second(1e3) == pytest.approx(4e9)
    assert PEAKS.bytes_per_second(1e7) == pytest.approx(2e9)
    assert PEAKS.bytes_per_second(1e9) == pytest.approx(1e9)


def test_the_longer_of_computing_and_moving_is_the_least():
    assert PEAKS.least_seconds(2e6, 1e6) == pytest.approx(2e-3) and PEAKS.is_compute_bound(2e6, 1e6)
    assert PEAKS.least_seconds(1e5, 1e6) == pytest.approx(2.5e-4) and not PEAKS.is_compute_bound(1e5, 1e6)


@pytest.mark.parametrize("batch", [1, 16])
def test_measured_peaks_are_the_best_of_what_was_measured(tmp_path, batch):
    path = tmp_path / "s.sqlite"
    operators = peak_operators(batch)
    setup = add_table(path, "x", DEVICES["alpha"], operators, batch)
    with Store(path) as store:
        table = LatencyTable.read(store, setup)
    peaks = measured_peaks(table)
    rates = [
        count(o.program).macs * batch / table.lookup(o.program).seconds
        for o in operators
        if count(o.program).macs
    ]
    assert peaks.macs_per_second == pytest.approx(max(rates)) and len(rates) == 3
    sizes = [size for size, _ in peaks.copies]
    assert sizes == pytest.approx([2**20, 2**23, 2**27], rel=0.1)


def test_a_card_has_the_peaks_of_its_data_sheet(monkeypatch):
    card = Card.__new__(Card)
    device = Device("h100", "H100", 1, (), card)
    peaks = from_data_sheet(device, "fp16")
    # 989.5 tera-operations, of which a multiply-add is two.
    assert peaks.macs_per_second == pytest.approx(989.5e12 / 2)
    assert peaks.bytes_per_second(1.0) == pytest.approx(3350e9)
    assert from_data_sheet(device, "fp4") is None
    assert from_data_sheet(Device("cpu-x", "x", 1, ()), "fp32") is None
