"""Latency tables: keys, schema, store, and the figures derived from raw samples."""

from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Measurement, Sample
from nascli.lut.store.store import Store
from nascli.lut.table import LatencyTable

__all__ = ["LatencyTable", "Measurement", "Sample", "Setup", "Store", "program_key"]
