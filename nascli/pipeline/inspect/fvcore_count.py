"""fvcore's count beside ours, with the difference explained to the last operation."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass

import torch

from nascli.errors import missing_package
from nascli.spaces.network import Network
from nascli.spaces.primitives import BatchNorm, Conv, ConvTranspose, Pool
from nascli.supernet.modules import network_module


@dataclass(frozen=True)
class FvcoreComparison:
    """What fvcore counts of a network, beside our MACs.

    Attributes:
        total: fvcore's total.
        products: What it counts of convolutions and linear layers.
        batch_norm: What it counts of batch normalisation.
        other: The rest of its total.
        not_counted: The operations that it leaves out.
        own_macs: Our MACs.
        own_batch_norm: Two per normalised element, from the network's description.
        has_pooling: Whether the network pools, which counts nothing here.
    """

    total: int
    products: int
    batch_norm: int
    other: int
    not_counted: tuple[str, ...]
    own_macs: int
    own_batch_norm: int
    has_pooling: bool

    def to_json(self) -> dict[str, object]:
        """fvcore's counts as a document."""
        return {
            "total": self.total,
            "products": self.products,
            "batch_norm": self.batch_norm,
            "other": self.other,
            "not_counted": list(self.not_counted),
        }


def compare_with_fvcore(network: Network) -> FvcoreComparison:
    """Count a network with fvcore.

    Raises:
        RuntimeUnavailableError: fvcore is not installed.
    """
    # fvcore traces with torch.jit, which torch has come to call deprecated.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return _compare(network)


def _compare(network: Network) -> FvcoreComparison:
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
    products = sum(by_operator.get(name, 0) for name in ("conv", "linear", "addmm", "matmul", "bmm"))
    batch_norm = by_operator.get("batch_norm", 0)
    normalised = sum(
        node.shape.size
        for node in network.program.nodes
        if isinstance(node.primitive, BatchNorm)
        or (isinstance(node.primitive, (Conv, ConvTranspose)) and node.primitive.norm)
    )
    return FvcoreComparison(
        total=total,
        products=products,
        batch_norm=batch_norm,
        other=total - products - batch_norm,
        not_counted=tuple(sorted(str(name) for name in analysis.unsupported_ops())),
        own_macs=network.counts.macs,
        own_batch_norm=2 * normalised,
        has_pooling=any(isinstance(node.primitive, Pool) for node in network.program.nodes),
    )
