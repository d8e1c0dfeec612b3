"""Predictions for devices without a table, compared with published measurements that they were not fitted on."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks._fit_efficiency import fit
from benchmarks._gpu_tables import CARDS, data_folder, deepbench, joined, v100_convolutions
from benchmarks._report import Target, write
from nascli.costmodel import roofline as package
from nascli.costmodel.roofline import Efficiency, predict_program
from nascli.costmodel.roofline.efficiency import roof
from nascli.spaces import FixedBlock, Network
from nascli.spaces.operators.basic import conv_block, head, squeeze_excite
from nascli.spaces.operators.definition import Value, activation, add, conv
from nascli.spaces.operators.registry import operator
from nascli.spaces.primitives import Shape

NOTES = """
Rows: 193,654 single TensorRT convolutions on a V100 (Alibaba's TinyNAS) and 2,832 convolutions and matrix products of
cuDNN and cuBLAS on seven cards (Baidu's DeepBench). They are held out at random (a tenth), by size (the largest fifth
of output channels), by kernel size (fitted on 1 and 3, predicted for 5), and one card at a time. ours: three small
networks on features relative to the device, fitted on the rest. MACs: proportional to MACs per precision. Roofline: the
data sheet's peaks and bandwidth plus 2 us. GPUNet: whole networks of a known device (V100, TensorRT, fp16, batch 1) as
the sum of their kernels, fitted on all single kernels and on no network. The kernels were timed with an older TensorRT,
alone, with their launches and layout changes, so the sums are too high; calibrated: multiplied by one factor from the
other three networks. Published networks: 675 latencies of whole networks from other authors, with one card left out at
a time. ours scales the same network's latencies on the other cards by the data sheets of both cards; MACs is
proportional to MACs, fitted on the other cards.
"""


@operator
def gpunet_irb(x: Value, out: int, *, kernel: int, middle: int, stride: int, se: bool, act: str) -> Value:
    """GPUNet's inverted residual block, whose expansion is a number of channels."""
    h = conv(x, middle, 1, act=act)
    h = conv(h, middle, kernel, stride=stride, groups=middle, act=act)
    h = squeeze_excite(h, max(1, x.channels // 4)) if se else h
    h = conv(h, out, 1)
    return add(x, h) if h.shape == x.shape else h


@operator
def gpunet_fused(x: Value, out: int, *, kernel: int, middle: int, stride: int, act: str) -> Value:
    """GPUNet's block whose expansion is the dense convolution itself."""
    h = conv(conv(x, middle, kernel, stride=stride, act=act), out, 1)
    return add(x, h) if h.shape == x.shape else h


@operator
def gpunet_conv(x: Value, out: int, *, kernel: int, stride: int, act: str) -> Value:
    """GPUNet's plain convolution, with a residual where shapes agree."""
    h = conv(x, out, kernel, stride=stride)
    return activation(add(x, h) if h.shape == x.shape else h, act)


def gpunet(file: Path) -> Network:
    blocks = []
    shape = None
    for number, layer in enumerate(json.loads(file.read_text())):
        kind, act = layer["layer_type"], {"relu": "relu", "swish": "swish"}[layer.get("act", "relu")]
        if kind == "data":
            shape = Shape(3, layer["img_resolution"], layer["img_resolution"])
            continue
        out = layer["num_out_channels"]
        if kind.startswith("head"):
            found = [conv_block(shape, out, stride=2, act=act)]
            for _ in range(2 * (kind == "head_large")):
                found.append(conv_block(found[-1].output, out, act=act))
        elif kind == "conv":
            found = [gpunet_conv(shape, out, kernel=layer["kernel_size"], stride=layer["stride"], act=act)]
        elif kind == "irb":
            middle = round(layer["num_in_channels"] * layer["expansion"])
            found = [gpunet_irb(shape, out, kernel=layer["kernel_size"], middle=middle, stride=layer["stride"], se=bool(layer["use_se"]), act=act)]  # fmt: skip
        elif kind == "fused_irb":
            middle = round(layer["num_in_channels"] * layer["expansion"])
            found = [gpunet_fused(shape, out, kernel=layer["kernel_size"], middle=middle, stride=layer["stride"], act=act)]  # fmt: skip
        elif kind != "tail":
            raise ValueError(f"{file.name} has a layer of type {kind}")
        else:
            found = [head(shape, layer.get("num_classes", 1000), features=out, act=act)]
        for index, block in enumerate(found):
            blocks.append(FixedBlock(f"{number}.{index}", block))
        shape = blocks[-1].output
    return Network(file.stem, tuple(blocks))


def relative(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    error = np.abs(predicted / measured - 1)
    return float(np.median(error)), float(np.quantile(error, 0.9))


def proportional(macs, seconds, precision, train, test) -> np.ndarray:
    found = np.empty(test.sum())
    for name in np.unique(precision[test]):
        here = train & (precision == name)
        here = here if here.any() else train
        found[precision[test] == name] = macs[test & (precision == name)] * np.median(
            seconds[here] / macs[here]
        )
    return found


# Figures of cards in the list of published networks; NVIDIA's product pages.
SHEETS = {
    "A100 80GB": (19.5e12, 312e12, 2039e9),
    "A100 SXM4 40GB": (19.5e12, 312e12, 1555e9),
    "GTX 1080": (8.87e12, 8.87e12, 320e9),
    "GTX 1080Ti": (11.34e12, 11.34e12, 484e9),
    "RTX 2080Ti": (13.45e12, 53.8e12, 616e9),
    "T4": (8.1e12, 65e12, 320e9),
    "Titan RTX": (16.3e12, 130e12, 672e9),
    "Titan V": (14.9e12, 110e12, 653e9),
    "Titan X Maxwell": (6.69e12, 6.69e12, 336.5e9),
    "V100": (15.7e12, 125e12, 900e9),
    "V100 16GB": (15.7e12, 125e12, 900e9),
    "V100 32GB": (15.7e12, 125e12, 900e9),
}


def published(folder: Path) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Per card left out: its name, measured, ours, and MACs-proportional, of networks known elsewhere."""
    rows = pd.read_csv(folder / "published_latency.csv")
    rows = rows[rows.device.isin(SHEETS) & rows.flops_m.notna() & (rows.latency_ms > 0)].copy()
    half = rows.precision.str.contains("16") | (rows.precision == "tf32")
    sheet = np.array([SHEETS[d] for d in rows.device])
    # Networks run below peak: the geometric mean of arithmetic and bandwidth says what a card is worth.
    peak = np.where(half, np.sqrt(sheet[:, 0] * sheet[:, 1]), sheet[:, 0])
    rows["worth"] = np.log(np.sqrt(peak * sheet[:, 2]))
    rows["half"] = half
    rows["log"] = np.log(rows.latency_ms / 1e3)
    rows["maker"] = rows.framework.str.split().str[0].str.replace("0", "", regex=False)
    rows["card"] = rows.device.str.replace(r" (16|32|80)GB| SXM4 40GB", "", regex=True)
    found = []
    for card, part in rows.groupby("card"):
        others = rows[rows.card != card]
        macs = np.median(np.exp(others.log) / (others.flops_m * others.batch))
        measured, ours, plain = [], [], []
        for _, row in part.iterrows():
            same = others[(others.network == row.network) & (others.half == row.half)]
            if same.empty:
                continue
            scaled = same.log + same.worth - row.worth + np.log(row.batch / same.batch)
            off = np.abs(np.log(row.batch / same.batch)) + 1.0 * (same.maker != row.maker) + 0.3 * np.abs(same.worth - row.worth)  # fmt: skip
            near = np.exp(-3 * (off - off.min()))
            measured.append(row.latency_ms / 1e3)
            ours.append(np.exp(np.average(scaled, weights=near)))
            plain.append(macs * row.flops_m * row.batch)
        if len(measured) >= 4:
            found.append((str(card), np.array(measured), np.array(ours), np.array(plain)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test: few rows, short fits")
    parser.add_argument("--fit", action="store_true", help="write the ensemble that the package comes with")
    options = parser.parse_args()
    folder = data_folder()
    if folder is None:
        if options.quick:
            write("roofline", ["what"], [["no tables here: set NASCLI_DATA"]], [], NOTES, True)
            return
        raise SystemExit("the tables are not here: set NASCLI_DATA")
    effort = {"members": 1, "steps": 60, "batch": 256} if options.quick else {}
    conv_kernels, conv_seconds, _ = v100_convolutions(folder)
    bench_kernels, bench_seconds, bench_cards, _ = deepbench(folder)
    kernels = joined([conv_kernels, bench_kernels])
    seconds = np.concatenate([conv_seconds, bench_seconds])
    cards = np.array([CARDS["V100"]] * len(conv_kernels) + bench_cards, dtype=object)
    bench = np.arange(len(kernels)) >= len(conv_kernels)
    weights = np.where(bench, 8.0, 1.0)

    def fitted(train: np.ndarray, **more) -> Efficiency:
        return fit(kernels.subset(train), cards[train], seconds[train], weights[train], **effort, **more)

    rows: list[list[str]] = []
    medians: dict[str, float] = {}
    tails: dict[str, float] = {}

    def report(name: str, test: np.ndarray, model: Efficiency, train: np.ndarray) -> None:
        k, c, s = kernels.subset(test), cards[test], seconds[test]
        others = {
            "ours": model(k, c),
            "roofline": roof(k, c),
            "MACs": proportional(kernels.macs, seconds, kernels.precision, train, test),
        }
        for way, predicted in others.items():
            median, tail = relative(predicted, s)
            rows.append([name, way, str(test.sum()), f"{median:.1%}", f"{tail:.1%}"])
            if way == "ours":
                medians[name], tails[name] = median, tail

    def wide(part) -> np.ndarray:
        return part.outputs >= np.quantile(part.outputs, 0.8)

    splits = {
        "at random": np.random.default_rng(0).random(len(kernels)) < 0.1,
        "largest channels": np.concatenate([wide(conv_kernels), wide(bench_kernels)]),
        "kernel 5": kernels.area == 25,
    }
    for name, test in splits.items():
        train = np.isin(kernels.area, (1, 9)) if name == "kernel 5" else ~test
        model = fitted(train)
        report(f"V100 TensorRT, {name}", test & ~bench, model, train)
        report(f"DeepBench, {name}", test & bench, model, train)
    for card in list(CARDS)[:2] if options.quick else CARDS:
        test = bench & np.array([c.key == CARDS[card].key for c in cards])
        report(f"DeepBench without {card}", test, fitted(~test), ~test)
    everything = np.ones(len(kernels), dtype=bool)
    model = fitted(everything)
    listed = pd.read_csv(folder / "published_latency.csv")
    listed = listed[(listed.framework == "TensorRT 8") & listed.note.str.contains("gpunet/", na=False)]
    measured, predicted, macs = [], [], []
    for _, row in listed.iterrows():
        network = gpunet(folder / "gpunet" / (row.note.split("gpunet/")[1].split(".json")[0] + ".json"))
        figure = predict_program(network.program, CARDS["V100"], 1, "fp16", model).seconds
        measured.append(row.latency_ms / 1e3)
        predicted.append(figure)
        macs.append(network.counts.macs)
        rows.append([f"{row.network} on V100", "ours", "1", f"{figure * 1e3:.2f} ms, published {row.latency_ms:.2f} ms", f"{figure * 1e3 / row.latency_ms - 1:+.1%}"])  # fmt: skip
    m, p = np.array(measured), np.array(predicted)
    x = np.array(macs, dtype=float)
    # As `nascli calibrate` does for a device that is here: a factor, from the other networks alone.
    calibrated = p * np.array([np.median(np.delete(m / p, i)) for i in range(len(m))])
    for way, values in (("ours", p), ("ours, calibrated on the other three", calibrated), ("MACs", x * np.median(m / x))):  # fmt: skip
        error = np.abs(values / m - 1)
        rows.append(["GPUNet, all", way, str(len(m)), f"mean {error.mean():.1%}", f"{error.max():.1%}"])
    network_error = float(np.abs(p / m - 1).mean())
    calibrated_error = float(np.abs(calibrated / m - 1).mean())
    left_out, plain_left_out = [], []
    for card, truth, ours, plain in published(folder):
        for way, values in (("ours", ours), ("MACs", plain)):
            median, tail = relative(values, truth)
            rows.append([f"published networks without {card}", way, str(len(truth)), f"{median:.1%}", f"{tail:.1%}"])  # fmt: skip
        left_out.append(np.abs(ours / truth - 1))
        plain_left_out.append(np.abs(plain / truth - 1))
    every = np.concatenate(left_out)
    rows.append(["published networks, a card left out", "ours", str(len(every)), f"{np.median(every):.1%}", f"{np.quantile(every, 0.9):.1%}"])  # fmt: skip
    plain_all = np.concatenate(plain_left_out)
    rows.append(["published networks, a card left out", "MACs", str(len(plain_all)), f"{np.median(plain_all):.1%}", f"{np.quantile(plain_all, 0.9):.1%}"])  # fmt: skip
    targets = [
        Target("V100 TensorRT at random: median error", medians["V100 TensorRT, at random"], 0.05, False),
        Target("V100 TensorRT largest channels: median error", medians["V100 TensorRT, largest channels"], 0.07, False),
        Target("V100 TensorRT kernel 5: median error", medians["V100 TensorRT, kernel 5"], 0.12, False),
        Target("GPUNet, networks of a known device, no network seen: mean error", network_error, 0.15, False),
        Target("GPUNet, calibrated on three others: mean error", calibrated_error, 0.15, False),
        Target("published networks, card left out: median error", float(np.median(every)), 0.25, False),
    ]  # fmt: skip
    if options.fit:
        unknown = max(v for k, v in tails.items() if "without" in k)
        worst = float(np.abs(p / m - 1).max())
        final = Efficiency(model.mean, model.deviation, model.centre, model.layers, (tails["V100 TensorRT, at random"], worst, unknown))  # fmt: skip
        file = Path(package.__file__).parent / "efficiency.npz"
        final.save(str(file))
        sys.stdout.write(f"wrote {file.name}: {file.stat().st_size / 1e3:.0f} kB\n")
    columns = ["held out", "way", "rows", "median error", "90th percentile"]
    write("roofline", columns, rows, targets, NOTES, options.quick)


if __name__ == "__main__":
    main()
