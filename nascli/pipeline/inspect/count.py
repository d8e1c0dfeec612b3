"""What a network costs on paper, from a name, an architecture's file, an ONNX file, or a space."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from nascli.costmodel import counted
from nascli.errors import UnknownNameError
from nascli.pipeline.inspect.listing import describe_space
from nascli.profiles.onnx.model_counts import count_onnx
from nascli.spaces import Architecture, Counts, Network, count, load_space, space_names
from nascli.spaces.catalog import load_space_of_any_kind
from nascli.spaces.reference_networks import network_names, reference_network
from nascli.spaces.staged import StagedSpace
from nascli.units import format_bytes, format_count


def count_target(what: str, *, check: bool) -> dict[str, Any]:
    """Counts of one network, or the ranges of a space.

    Returns:
        `document` (integers, for machines), `shown`, `layers` and `remarks` (for people), and a `title`.

    Raises:
        NascliError: nothing of that name, or a file that cannot be read.
    """
    if what.endswith(".onnx"):
        macs, params, unknown = count_onnx(Path(what))
        document = {"macs": macs, "params": params, "not_counted": unknown}
        remarks = [f"not counted, since it has no MACs by convention or is unknown: {', '.join(unknown)}"]
        shown = {"MACs": format_count(macs), "params": format_count(params)}
        return _answer(what, document, shown, remarks=remarks if unknown else [])
    if what.endswith(".json"):
        architecture = Architecture.load(Path(what))
        title = f"{architecture.name} of {architecture.space.spec}"
        return _network(title, architecture.network, check)
    if what in network_names():
        return _network(what, reference_network(what), check)
    if what.partition(":")[0] not in space_names() and ":" not in what and not what.endswith(".toml"):
        raise UnknownNameError(
            "network or space", what, [*network_names(), *space_names()], "Or name a .json or .onnx file."
        )
    return _space(what)


def _answer(
    title: str,
    document: dict[str, Any],
    shown: dict[str, str],
    layers: list[list[str]] | None = None,
    remarks: list[str] | None = None,
) -> dict[str, Any]:
    return {
        "title": title,
        "document": document,
        "shown": shown,
        "layers": layers or [],
        "remarks": remarks or [],
    }


def _shown(counts: Counts) -> dict[str, str]:
    shown = {
        "MACs": f"{counts.macs:,}",
        "params": f"{counts.params:,}",
        "of which weights": f"{counts.weights:,}",
        "weights as deployed": format_bytes(counts.weight_bytes),
        "bytes moved (batch 1)": format_bytes(counts.moved_bytes),
        "peak activations (batch 1)": format_bytes(counts.peak_bytes),
    }
    if counts.bitops:
        shown["BitOps"] = f"{counts.bitops / 2**30:.2f} x 2^30"
    return shown


def _network(title: str, network: Network, check: bool) -> dict[str, Any]:
    counts = network.counts
    document: dict[str, Any] = asdict(counts)
    layers = []
    for block in network.blocks:
        own = count(block.operator.program)
        layers.append(
            [block.name, block.operator.short, str(block.output), f"{own.macs:,}", f"{own.params:,}"]
        )
    remarks: list[str] = []
    if check:
        from nascli.pipeline.inspect.fvcore_count import compare_with_fvcore

        opinion, remarks = compare_with_fvcore(network)
        document["fvcore"] = opinion
    return _answer(title, document, _shown(counts), layers, remarks)


def _space(spec: str) -> dict[str, Any]:
    if isinstance(load_space_of_any_kind(spec), StagedSpace):
        described = describe_space(spec)
        document = {"macs": described["macs"], "params": described["params"]}
        return _answer(
            f"range over {spec}",
            document,
            {"MACs": described["macs_text"], "params": described["params_text"]},
        )
    space = load_space(spec)
    costs = {name: counted(space, name) for name in ("macs", "params", "weight_bytes")}
    return _answer(
        f"range over {space.spec}",
        {name: [round(cost.minimum), round(cost.maximum)] for name, cost in costs.items()},
        {name: f"{c.format(c.minimum)} to {c.format(c.maximum)}" for name, c in costs.items()},
    )
