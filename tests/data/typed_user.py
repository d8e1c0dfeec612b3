"""What a user writes: a type checker must see what each function takes and gives. It is checked, not run."""

from pathlib import Path
from typing import assert_type

import numpy as np

import nascli
from nascli.costmodel import ChainCost, Constraint, FeasibleSet
from nascli.lut import LatencyTable, Measurement
from nascli.pipeline.measure.device_calibration import DeviceCalibrationSummary
from nascli.pipeline.measure.network_calibration import CalibrationSummary
from nascli.pipeline.measure.prediction import Prediction
from nascli.pipeline.run.result import SearchResult
from nascli.pipeline.train.from_scratch import ArchitectureTraining
from nascli.search.base import Evaluation
from nascli.search.evaluators.function import command_function
from nascli.spaces import Architecture, Space

space = nascli.space("proxyless-mini", resolution=32)
assert_type(space, Space)
table = nascli.profile(space, device="cpu", batch=16, runtime="ort-cpu", store=Path("s.sqlite"), seed=1)
assert_type(table, LatencyTable)
cost = nascli.latency(space, table)
assert_type(cost, ChainCost)
calibration = nascli.calibrate("proxyless-mini", networks=24, threads=1)
assert_type(calibration, CalibrationSummary)
assert_type(nascli.calibrate(batch=1), DeviceCalibrationSummary)
budget = nascli.constrain(
    space, "latency=8ms", Constraint("macs", 0.0, 1e9), latency=[cost, calibration.cost]
)
assert_type(budget, FeasibleSet)
assert_type(budget.count(), int)
codes = budget.sample(1000, np.random.default_rng(0))
architecture = Architecture.load(Path("architecture.json"))
prediction = nascli.predict(architecture, confidence=0.9)
assert_type(prediction, Prediction)
assert_type(prediction.low, float | None)
assert_type(nascli.measure("model.onnx", batch=1), Measurement)
best = nascli.optimise(command_function(["./train.sh"]), budget, evaluations=40)
assert_type(best, list[Evaluation])
result = nascli.search(space, budget, data="imagenet:/data", algorithm="pcnas", seed=0)
assert_type(result, SearchResult)
assert_type(result.latency, float | None)
nascli.search("proxyless-mini", "latency=8ms", train_device="cuda:1", tf32=False)
trained = nascli.train(architecture, out="trained", epochs=30, train_device="cpu")
assert_type(trained, ArchitectureTraining)
