"""Predictions for a device that is not here: a roofline with efficiencies learned from real tables."""

from nascli.costmodel.roofline.efficiency import Efficiency, load_efficiency
from nascli.costmodel.roofline.hardware import Hardware, hardware
from nascli.costmodel.roofline.kernels import Kernels, kernels_of
from nascli.costmodel.roofline.latency import Predicted, predict_program, roofline_latency

__all__ = [
    "Efficiency",
    "Hardware",
    "Kernels",
    "Predicted",
    "hardware",
    "kernels_of",
    "load_efficiency",
    "predict_program",
    "roofline_latency",
]
