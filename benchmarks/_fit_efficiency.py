"""Fits the efficiency networks of `nascli.costmodel.roofline` to measured kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from nascli.costmodel.roofline import Efficiency, Hardware, Kernels
from nascli.costmodel.roofline.efficiency import features, roof


def fit(
    kernels: Kernels,
    devices: Sequence[Hardware],
    seconds: np.ndarray,
    weights: np.ndarray,
    *,
    members: int = 3,
    width: int = 96,
    steps: int = 2600,
    batch: int = 2048,
    quantiles: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Efficiency:
    """Mean absolute error of log time over roof, AdamW on one cycle; rows drawn in proportion to weights."""
    x = features(kernels, devices)
    target = np.log(seconds / roof(kernels, devices))
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-3
    inputs = torch.tensor((x - mean) / deviation, dtype=torch.float32)
    centre = float(np.average(target, weights=weights))
    outputs = torch.tensor(target - centre, dtype=torch.float32)
    chances = torch.tensor(weights / weights.sum(), dtype=torch.float64)
    fitted = []
    for member in range(members):
        torch.manual_seed(member)
        net = nn.Sequential(
            nn.Linear(x.shape[1], width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 1),
        )  # fmt: skip
        optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
        rng = np.random.default_rng(member)
        drawn = torch.from_numpy(rng.choice(len(target), (steps, min(batch, len(target))), p=chances.numpy()))
        for rows in drawn:
            optimizer.zero_grad(set_to_none=True)
            (net(inputs[rows])[:, 0] - outputs[rows]).abs().mean().backward()
            optimizer.step()
            schedule.step()
        layers = [m for m in net if isinstance(m, nn.Linear)]
        fitted.append(tuple((m.weight.detach().double().numpy(), m.bias.detach().double().numpy()) for m in layers))  # fmt: skip
    return Efficiency(mean, deviation, centre, tuple(fitted), quantiles)
