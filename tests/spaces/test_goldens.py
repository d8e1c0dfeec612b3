"""Published counts, exact to the integer where they were recomputed independently."""

import time

import numpy as np
import pytest

from nascli.costmodel import counted
from nascli.spaces import Architecture, make_space
from nascli.spaces.builtin.mixed_precision import RESNET_18, RESNET_34
from nascli.spaces.catalog import make_space_of_any_kind
from nascli.spaces.reference_networks import network_names, reference_architecture, reference_network, resnet
from nascli.units import format_big_integer

MACS = {
    "mobilenetv2": 300_774_272,
    "mobilenetv2-1.4": 582_195_824,
    "shufflenetv2-0.5": 40_476_448,
    "shufflenetv2-1.0": 145_814_296,
    "shufflenetv2-1.5": 298_970_656,
    "shufflenetv2-2.0": 590_783_000,
    "proxyless-mobile": 320_427_584,
    "proxyless-gpu": 465_260_160,
    "proxyless-cpu": 439_243_864,
    "spos-searched": 322_918_720,
    "spos-searched-channels": 327_857_920,
    "nsenet-27": 326_325_200,
    "nsenet": 330_953_544,
    "nsenet-se": 333_940_328,
    # FBNet's convention adds 49 per channel of the last convolution for the average pool.
    "fbnet-a": 244_526_360 - 49 * 1504,
    "fbnet-b": 291_101_640 - 49 * 1984,
    "fbnet-c": 378_233_440 - 49 * 1984,
}
# Millions of parameters with batch normalisation; FBNet's of weights alone.
PARAMS = {
    "shufflenetv2-0.5": 1.37, "shufflenetv2-1.0": 2.28, "shufflenetv2-1.5": 3.51, "shufflenetv2-2.0": 7.40,
    "proxyless-mobile": 4.081, "proxyless-gpu": 7.120, "proxyless-cpu": 4.362, "mobilenetv2-1.4": 6.109,
    "nsenet-27": 4.570, "nsenet": 4.564, "nsenet-se": 7.564, "nsenet-gpu": 15.742,
}  # fmt: skip
WEIGHTS = {"fbnet-a": 4.270, "fbnet-b": 4.767, "fbnet-c": 5.525}


@pytest.mark.parametrize(("name", "macs"), MACS.items())
def test_macs_of_reference_networks(name, macs):
    assert reference_network(name).counts.macs == macs


def test_rounded_goldens():
    assert f"{reference_network('nsenet-gpu').counts.macs / 1e6:.2f}" == "1471.13"
    assert reference_network("mobilenetv2").counts.params == 3_504_872
    assert reference_network("resnet18").counts.params == 11_689_512
    assert reference_network("resnet34").counts.params == 21_797_672
    assert reference_network("resnet50").counts.params == 25_557_032
    for name, millions in PARAMS.items():
        digits = len(str(millions).split(".")[1])
        assert round(reference_network(name).counts.params / 1e6, digits) == pytest.approx(millions), name
    for name, millions in WEIGHTS.items():
        assert round(reference_network(name).counts.weights / 1e6, 3) == millions, name


def test_spos_uniform_choices():
    space = make_space("spos")
    cost = counted(space, "macs")
    for code, macs, millions in [
        (0, 295_842_496, 3.155), (1, 313_654_976, 3.212), (2, 340_373_696, 3.298), (3, 358_825_920, 3.871)
    ]:  # fmt: skip
        assert cost(np.full((1, 20), code))[0] == macs
        assert round(space.network([code] * 20).counts.params / 1e6, 3) == millions
    assert (cost.minimum, cost.maximum) == (270_359_360, 398_609_216)
    drawn = cost(space.sample(20_000, np.random.default_rng(0)))
    assert drawn.mean() == pytest.approx(327.1e6, rel=2e-3)
    assert (drawn <= 330e6).mean() == pytest.approx(0.59, abs=0.015)


def test_spos_joint_blocks_at_full_width():
    blocks = (0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2)
    assert make_space("spos").network(blocks).counts.macs == 318_729_024


@pytest.mark.parametrize(
    ("code", "width", "millions"), [(0, 1.047, 323.97), (1, 1.013, 321.03), (3, 0.947, 326.27)]
)
def test_spos_rescaled_baselines(code, width, millions):
    macs = make_space("spos", width=width).network([code] * 20).counts.macs
    assert macs / 1e6 == pytest.approx(millions, abs=1.0)


def test_bitops_of_table_6():
    for layers, expected in [(RESNET_18, (6.32, 14.21, 25.27)), (RESNET_34, (13.21, 29.72, 52.83))]:
        for bits, value in zip((2, 3, 4), expected, strict=True):
            bitops = resnet(layers, "r", bits=(bits, bits)).counts.bitops
            assert f"{bitops / 2**30:.2f}" == f"{value:.2f}"
    plain = resnet(RESNET_18, "r", bits=(1, 1)).counts.bitops
    assert plain == 1_695_547_392


def test_sizes_of_spaces():
    assert make_space("nse-27").size == 101_584**16 * 101_583**6
    assert format_big_integer(make_space("nse-27").size) == "1.413e110"
    assert make_space("spos").size == 4**20
    assert make_space("spos-resnet18-bits").size == 18**8
    assert make_space("spos-resnet34-bits").size == 18**16
    assert make_space("pcnas-small").size == 10**17 * 9**4
    assert make_space("pcnas-large").size == 20**17 * 19**4
    assert make_space("nasbench-macro").size == 6561
    # The papers' nominal 7^21 counts a skip where the shape changes; NSE's 7^17 * 6^4 is its own macro's.
    proxyless = make_space("proxyless")
    assert max(layer.size for layer in proxyless.layers) ** len(proxyless.layers) == 7**21
    assert proxyless.size == 7**15 * 6**6
    sizes = [layer.size for layer in make_space("pcnas-small").layers]
    assert np.prod([7 if size == 10 else 6 for size in sizes], dtype=object) == 7**17 * 6**4
    staged = make_space_of_any_kind("nss-expanded")
    assert staged.size == (16 * 512) ** 3


def test_nss_counts_in_closed_form():
    staged = make_space_of_any_kind("nss-expanded")
    assert round(float(staged.macs([[15, 511] * 3])[0]) / 1e9, 1) == 99.2
    for code in staged.sample(5, np.random.default_rng(0)) // [[4, 8, 4, 8, 4, 8]]:
        assert staged.network(code).counts.macs == staged.macs(code)[0]


def test_reference_networks_are_architectures_where_they_lie_in_a_space():
    inside = {name for name in network_names() if reference_architecture(name) is not None}
    assert inside == {"proxyless-mobile", "proxyless-gpu", "proxyless-cpu", "fbnet-a", "fbnet-b", "fbnet-c",
                      "spos-searched", "spos-searched-channels", "nsenet-27", "nsenet-gpu"}  # fmt: skip
    for name in inside:
        one = reference_architecture(name)
        assert Architecture.from_json(one.to_json()) == one
        cost = counted(one.space, "macs")(one.space.check([one.choices]))[0]
        assert cost == reference_network(name).counts.macs


def test_nasbench_macro_equals_the_table(data_folder):
    import pandas as pd

    table = pd.read_csv(data_folder / "nasbench_macro" / "nasbench_macro.csv", dtype={"arch": str})
    space = make_space("nasbench-macro")
    codes = space.check([[int(digit) for digit in arch] for arch in table["arch"]])
    assert len(codes) == 6561
    assert np.array_equal(counted(space, "macs")(codes), table["flops"])
    assert np.array_equal(counted(space, "params")(codes), table["params"])


def test_counting_is_quick():
    space = make_space("nse-27")
    cost = counted(space, "macs")
    codes = space.sample(100_000, np.random.default_rng(0))
    cost(codes[:10])
    start = time.process_time()
    cost(codes)
    assert time.process_time() - start < 0.5
    single = make_space("spos")
    rows = single.sample(50, np.random.default_rng(0))
    start = time.process_time()
    for row in rows:
        single.network(row)
    assert (time.process_time() - start) / 50 < 1e-3
