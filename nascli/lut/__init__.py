"""Latency tables: keys, the store of raw samples, and the measurements derived from them."""

from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Measurement, Sample
from nascli.lut.store.store import Store
from nascli.lut.table import LatencyTable

__all__ = ["LatencyTable", "Measurement", "Sample", "Setup", "Store", "program_key"]
