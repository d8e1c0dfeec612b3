"""fvcore's count beside ours, with the difference explained to the last operation."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import torch

from nascli.errors import missing_package
from nascli.spaces.network import Network
from nascli.spaces.primitives import Conv, Pool
from nascli.supernet.modules import network_module


def compare_with_fvcore(network: Network) -> tuple[dict[str, Any], list[str]]:
    """Count a network with fvcore.

    Returns:
        fvcore's total and where it differs from our MACs, and the same in words.

    Raises:
        RuntimeUnavailableError: fvcore is not installed.
    """
    # fvcore traces with torch.jit, which torch has come to call deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return _compare(network)


def _compare(network: Network) -> tuple[dict[str, Any], list[str]]:
    try:
        from fvcore.nn import FlopCountAnalysis
    except ImportError as error:
        raise missing_package("fvcore", "bench", "a second opinion") from error
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    module = network_module([operator.program for operator in network.operators]).eval()
    analysis = FlopCountAnalysis(module, torch.zeros(1, *network.input))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    by_operator = {str(name): int(value) for name, value in analysis.by_operator().items()}
    total = sum(by_operator.values())
    own = network.counts.macs
    normalised = 2 * sum(
        node.shape.size
        for node in network.program.nodes
        if isinstance(node.primitive, Conv) and node.primitive.norm
    )
    products = sum(by_operator.get(name, 0) for name in ("conv", "linear", "addmm", "matmul"))
    other = total - products - by_operator.get("batch_norm", 0)
    opinion: dict[str, Any] = {
        "total": total,
        "products": products,
        "batch_norm": by_operator.get("batch_norm", 0),
        "other": other,
        "not_counted": sorted(str(name) for name in analysis.unsupported_ops()),
    }
    lines = [
        f"fvcore counts {total:,}, we count {own:,} MACs. Its convolutions and linear layers: {products:,} "
        f"({'equal to ours' if products == own else f'{products - own:+,} against ours'}).",
        f"The rest is batch normalisation, 2 per element: {by_operator.get('batch_norm', 0):,} "
        f"(from the description: {normalised:,})" + (f", and others: {other:,}." if other else "."),
    ]
    if opinion["not_counted"]:
        lines.append(f"fvcore leaves out: {', '.join(opinion['not_counted'])}.")
    if any(isinstance(node.primitive, Pool) for node in network.program.nodes):
        lines.append("Pooling counts 0 here, as in the literature's tables.")
    return opinion, lines
