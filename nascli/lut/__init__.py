"""Latency tables: keys, schema, store, and the figures derived from raw samples."""

from nascli.lut.keys import Setup, program_key
from nascli.lut.statistics import Estimate, Sample
from nascli.lut.store.store import Store
from nascli.lut.table import LatencyTable

__all__ = ["Estimate", "LatencyTable", "Sample", "Setup", "Store", "program_key"]
