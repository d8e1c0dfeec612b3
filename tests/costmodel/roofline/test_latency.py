import numpy as np
import pytest

from nascli.costmodel.roofline import hardware, kernels_of, load_efficiency, predict_program, roofline_latency
from nascli.costmodel.roofline.efficiency import LAUNCH, roof
from nascli.errors import DeviceError
from nascli.profiles.devices.data_sheets import data_sheets
from nascli.spaces import count, load_space
from nascli.spaces.operators.inverted_residual import mbconv
from nascli.spaces.operators.residual_blocks import basic_block
from nascli.spaces.reference_networks import reference_network

V100 = hardware("v100", (("fp32", 15.7e12), ("fp16", 125e12), ("int8", 62.8e12)), 900e9, 80)


def test_kernels_of_a_block_by_hand():
    """Two convolutions and a projection; activations and the sum are fused, so three launches are left."""
    block = basic_block((8, 10, 10), 16, stride=2)
    work = kernels_of(block.program, 4, "fp16")
    k = work.kernels
    assert len(k) == 3 and len(work.moved) == 0
    assert k.macs.sum() == 4 * count(block.program).macs
    assert k.fused.sum() == 1 and set(k.area) == {9, 1}
    first = int(np.flatnonzero((k.area == 9) & (k.inputs == 8))[0])
    inputs, outputs, weights = (part[first] for part in k.traffic)
    assert (inputs, outputs, weights) == (4 * 8 * 100 * 2, 4 * 16 * 25 * 2, 16 * 8 * 9 * 2)


def test_the_roof_is_arithmetic_or_memory():
    k = kernels_of(mbconv((32, 56, 56), 32, kernel=3, expand=6).program, 16, "fp32").kernels
    inputs, outputs, weights = k.traffic
    expected = np.maximum(2 * k.macs / 15.7e12, (inputs + outputs + weights) / 900e9) + LAUNCH
    assert np.allclose(roof(k, [V100] * len(k)), expected)


def test_predictions_are_plausible_and_say_so():
    network = reference_network("resnet50")
    found = predict_program(network.program, V100, 8, "fp16")
    k = kernels_of(network.program, 8, "fp16").kernels
    assert found.seconds > roof(k, [V100] * len(k)).sum() * 0.9
    assert found.low < found.seconds < found.high and sum(found.by_node.values()) == pytest.approx(
        found.seconds
    )
    # Published by others: 3.29 ms with an old TensorRT; nothing was fitted on it.
    assert 1.5e-3 < found.seconds < 6e-3
    slower = hardware("half", tuple((k, v / 2) for k, v in V100.peak), V100.bandwidth / 2, 40)
    assert predict_program(network.program, slower, 8, "fp16").seconds > 1.3 * found.seconds


def test_a_space_on_a_card_that_is_not_here():
    for spec in ("proxyless-mini", "nse-19-mini"):
        space = load_space(spec)
        cost = roofline_latency(space, V100, 16, "fp32")
        codes = space.sample(5, np.random.default_rng(0))
        assert cost.kind == "predicted" and np.all(cost(codes) > 0)
        whole = [predict_program(space.network(row).program, V100, 16, "fp32").seconds for row in codes]
        assert np.allclose(cost(codes), whole, rtol=0.4)


def test_every_profile_predicts_what_its_data_sheet_has():
    program = mbconv((32, 28, 28), 32, kernel=5).program
    for key, sheet in data_sheets().items():
        device = hardware(key, sheet.peak, sheet.bandwidth, sheet.processors)
        assert 1e-6 < predict_program(program, device, 16, "fp32").seconds < 1e-2
    titan = data_sheets()["titanxp"]
    with pytest.raises(DeviceError, match="no peak for fp16"):
        predict_program(program, hardware("t", titan.peak, titan.bandwidth, titan.processors), 1, "fp16")
    ampere = data_sheets()["a100"]
    card = hardware("a", ampere.peak, ampere.bandwidth, ampere.processors)
    # The data sheet knows it, the model does not.
    with pytest.raises(DeviceError, match="made for fp32, fp16, int8, not 'tf32'"):
        predict_program(program, card, 1, "tf32")
    with pytest.raises(DeviceError, match="no peak for fp23"):
        predict_program(program, card, 1, "fp23")
    with pytest.raises(DeviceError, match="above 0"):
        hardware("x", (("fp32", 1e12),), 0.0, 1)


def test_the_ensemble_survives_its_file(tmp_path):
    model = load_efficiency()
    model.save(str(tmp_path / "e.npz"))
    assert (tmp_path / "e.npz").exists() and len(model.layers) >= 2
    k = kernels_of(mbconv((32, 28, 28), 32).program, 1, "fp32").kernels
    assert np.all(model(k, [V100] * len(k)) > 0)
