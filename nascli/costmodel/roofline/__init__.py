"""Latency from data sheets: a roofline model with efficiencies that were learned from measurements."""

from nascli.costmodel.roofline.efficiency import Efficiency, load_efficiency
from nascli.costmodel.roofline.hardware import Hardware, hardware
from nascli.costmodel.roofline.kernels import Kernels, kernels_of
from nascli.costmodel.roofline.latency import PredictedLatency, predict_program, roofline_latency

__all__ = [
    "Efficiency",
    "Hardware",
    "Kernels",
    "PredictedLatency",
    "hardware",
    "kernels_of",
    "load_efficiency",
    "predict_program",
    "roofline_latency",
]
