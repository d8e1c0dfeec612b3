"""FBNet's JSON: entries with op_type, op_args, input_shapes, and runtime_us_p0 to runtime_us_p100 in microseconds.

The latency is the median, runtime_us_p50.
"""

from __future__ import annotations

import json
from typing import Any

from nascli.errors import SpaceError, StoreError
from nascli.lut.exchange.foreign.rows import (
    ForeignRow,
    ForeignTable,
    add_program,
    conv_program,
    linear_program,
    pool_program,
)
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program


def read(data: bytes) -> ForeignTable:
    """Read FBNet's table, which is a list of entries or a mapping to them.

    Raises:
        StoreError: An entry has no median, or batches or devices differ.
    """
    document = json.loads(data)
    entries = list(document.values()) if isinstance(document, dict) else document
    table, batches, devices = ForeignTable(), set(), set()
    for number, entry in enumerate(entries):
        if "runtime_us_p50" not in entry:
            raise StoreError(f"entry {number} has no runtime_us_p50")
        shape = [int(size) for size in entry["input_shapes"][0]]
        label = f"{entry['op_type']} {json.dumps(entry['op_args'], sort_keys=True)} {shape}"
        batches.add(shape[0])
        devices.add(str(entry.get("device", "")))
        try:
            program = _program(str(entry["op_type"]).lower(), dict(entry["op_args"]), shape)
        except (SpaceError, KeyError) as error:
            table.left_out[f"rows nascli has no operator for (such as {entry['op_type']}: {error})"] += 1
            continue
        table.rows.append(ForeignRow(label, program, float(entry["runtime_us_p50"]) * 1e-6))
    if len(batches) > 1 or len(devices) > 1:
        raise StoreError(
            f"the file mixes batches {sorted(batches)} or devices {sorted(devices)}",
            "Split it, so that each file has one.",
        )
    table.batch = batches.pop() if batches else None
    return table


def _pair(value: Any) -> tuple[int, int]:
    first, second = value if isinstance(value, list) else (value, value)
    return int(first), int(second)


def _program(kind: str, args: dict[str, Any], shape: list[int]) -> Program:
    if kind in ("linear", "fc"):
        return linear_program(int(args.get("in_features", shape[-1])), int(args["out_features"]))
    x = Shape(*shape[1:])
    if kind in ("conv2d", "conv"):
        kernel, dilation = _pair(args["kernel_size"]), _pair(args.get("dilation", 1))
        same = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation, strict=True))
        if _pair(args.get("padding", 0)) != same:
            raise SpaceError(f"padding {args.get('padding', 0)} does not keep the size")
        return conv_program(
            x,
            int(args["out_channels"]),
            kernel,
            _pair(args.get("stride", 1)),
            dilation,
            int(args.get("groups", 1)),
        )
    if kind in ("avgpool2d", "maxpool2d"):
        window = _pair(args["kernel_size"])[0]
        return pool_program(x, kind[:3], window, _pair(args.get("stride", window))[0])
    if kind == "adaptiveavgpool2d":
        return pool_program(x, "avg", x.height, 1)
    if kind == "add":
        return add_program(x)
    raise SpaceError(f"unknown op_type {kind!r}")


FORMATS = {"fbnet": read}
