"""Reads published tables of single operators on GPUs as kernels, with the devices that measured them."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from nascli.costmodel.roofline import Hardware, Kernels, hardware

# Data sheets: NVIDIA's product pages and white papers of each card (boost clock; SXM2 for P100 and V100).
CARDS = {
    "V100": hardware("v100", (("fp32", 15.7e12), ("fp16", 125e12), ("int8", 62.8e12)), 900e9, 80),
    "M40": hardware("m40", (("fp32", 6.84e12),), 288e9, 24),
    "TitanX": hardware("titanx", (("fp32", 6.69e12),), 336.5e9, 24),
    "TitanX_Pascal": hardware("titanx-pascal", (("fp32", 10.97e12), ("int8", 43.9e12)), 480e9, 28),
    "1080Ti": hardware("1080ti", (("fp32", 11.34e12), ("int8", 45.4e12)), 484e9, 28),
    "P100": hardware("p100", (("fp32", 10.6e12),), 732e9, 56),
    "T4": hardware("t4", (("fp32", 8.1e12), ("fp16", 65e12), ("int8", 130e12)), 320e9, 40),
}


def data_folder() -> Path | None:
    """Where the tables are: NASCLI_DATA, or ../shared/data beside the project."""
    named = os.environ.get("NASCLI_DATA")
    place = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    return place if place.is_dir() else None


def joined(parts: list[Kernels]) -> Kernels:
    return Kernels(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Kernels)})


def v100_convolutions(folder: Path) -> tuple[Kernels, np.ndarray, pd.DataFrame]:
    """Single TensorRT convolutions: kernels, seconds, and the rows as they are."""
    rows = pd.read_csv(folder / "v100_trt_conv" / "v100_trt_conv.csv.gz")
    depthwise = (rows.conv_type == "Depthwise").to_numpy()
    get = {name: rows[name].to_numpy(float) for name in ("batch", "in_c", "in_h", "in_w", "out_c", "kernel", "stride", "elt_fused")}  # fmt: skip
    kernels = Kernels(
        batch=get["batch"],
        inputs=get["in_c"],
        outputs=np.where(depthwise, get["in_c"], get["out_c"]),
        in_pixels=get["in_h"] * get["in_w"],
        out_pixels=np.ceil(get["in_h"] / get["stride"]) * np.ceil(get["in_w"] / get["stride"]),
        groups=np.where(depthwise, get["in_c"], 1.0),
        area=get["kernel"] ** 2,
        stride=get["stride"],
        fused=get["elt_fused"],
        precision=rows.precision.to_numpy(str),
        cudnn=np.zeros(len(rows)),
    )
    return kernels, rows.latency_ms.to_numpy() / 1e3, rows


def deepbench(folder: Path) -> tuple[Kernels, np.ndarray, list[Hardware], pd.DataFrame]:
    """Convolutions and matrix products of cuDNN and cuBLAS on several cards."""
    rows = pd.read_csv(folder / "deepbench" / "deepbench_ops.csv", low_memory=False)
    sheets = {
        "Results - FP32": "fp32",
        "Results FP32": "fp32",
        "Results - FP16 ip, Mixed math": "fp16",
        "Results - Mixed Precision": "int8",
    }
    rows = rows[rows.sheet.isin(sheets) & (rows.fwd_ms > 0)].copy()
    rows["precision"] = rows.sheet.map(sheets)
    for name in ("W", "H", "C", "K", "R", "S", "pad_h", "pad_w", "stride_h", "stride_w", "M", "N"):
        rows[name] = pd.to_numeric(rows[name], errors="coerce")
    rows = rows[(rows.op == "gemm") | rows[["W", "H", "C", "R", "S", "pad_h", "pad_w", "stride_h", "stride_w"]].notna().all(axis=1)]  # fmt: skip
    rows = rows.dropna(subset=["N", "K"])
    conv = (rows.op == "conv").to_numpy()
    g = {name: rows[name].fillna(1).to_numpy(float) for name in ("W", "H", "C", "K", "R", "S", "pad_h", "pad_w", "stride_h", "stride_w", "M", "N")}  # fmt: skip
    # In conv sheets R is the filter's width and S its height; the area is all that counts here.
    wide = np.floor((g["W"] + 2 * g["pad_w"] - g["R"]) / g["stride_w"]) + 1
    high = np.floor((g["H"] + 2 * g["pad_h"] - g["S"]) / g["stride_h"]) + 1
    kernels = Kernels(
        batch=g["N"],
        inputs=np.where(conv, g["C"], g["K"]),
        outputs=np.where(conv, g["K"], g["M"]),
        in_pixels=np.where(conv, g["W"] * g["H"], 1.0),
        out_pixels=np.where(conv, np.maximum(wide, 1) * np.maximum(high, 1), 1.0),
        groups=np.ones(len(rows)),
        area=np.where(conv, g["R"] * g["S"], 1.0),
        stride=np.where(conv, np.maximum(g["stride_w"], g["stride_h"]), 1.0),
        fused=np.zeros(len(rows)),
        precision=rows.precision.to_numpy(str),
        cudnn=np.ones(len(rows)),
    )
    return kernels, rows.fwd_ms.to_numpy() / 1e3, [CARDS[d] for d in rows.device], rows.reset_index(drop=True)
