"""Few and short bursts, for tests of what follows a measurement: their latencies need not be right."""

from nascli.profiles.protocol import MeasurementProtocol

FEW = MeasurementProtocol(target=0.5, min_rounds=3, max_rounds=3, burst_seconds=5e-4, min_runs=2)


def measure_quickly(set_attribute=setattr):
    """Make few and short bursts the default of this process, or as long as a monkeypatch's `setattr` lasts."""
    set_attribute(MeasurementProtocol.__init__, "__defaults__", tuple(vars(FEW).values()))
