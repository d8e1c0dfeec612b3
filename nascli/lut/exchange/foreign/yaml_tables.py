"""ProxylessNAS's and Once-for-all's YAML tables: ``expanded_conv-input:112x112x16-output:...: {mean, ...}``.

Shapes are height x width x channels, and latencies are milliseconds. `expand` is a ratio in ProxylessNAS's tables, and
the number of middle channels in Once-for-all's.
"""

from __future__ import annotations

from typing import Any

import yaml

from nascli.errors import SpaceError, StoreError
from nascli.lut.exchange.foreign.rows import ForeignRow, ForeignTable, inverted_residual
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.primitives import Shape
from nascli.spaces.programs import Program


def read_proxylessnas(data: bytes) -> ForeignTable:
    """Read ProxylessNAS's table.

    Raises:
        StoreError: The file is not a mapping, or an operator has no mean.
    """
    return _read(data, ratio=True)


def read_ofa(data: bytes) -> ForeignTable:
    """Read Once-for-all's table.

    Raises:
        StoreError: The file is not a mapping, or an operator has no mean.
    """
    return _read(data, ratio=False)


def _read(data: bytes, *, ratio: bool) -> ForeignTable:
    document = yaml.safe_load(data)
    if not isinstance(document, dict):
        raise StoreError("the file is not a mapping from operators to figures")
    table = ForeignTable()
    for key, entry in document.items():
        label = str(key)
        if not isinstance(entry, dict) or "mean" not in entry:
            raise StoreError(f"{label} has no mean")
        try:
            program = _program(label, ratio)
        except SpaceError as error:
            table.left_out[f"rows nascli has no operator for (such as {error.message})"] += 1
            continue
        table.rows.append(ForeignRow(label, program, float(entry["mean"]) * 1e-3))
    return table


def _program(key: str, ratio: bool) -> Program:
    name, _, rest = key.partition("-input:")
    input_text, _, rest = rest.partition("-output:")
    output_text, *attributes = rest.split("-")
    facts: dict[str, Any] = dict(pair.split(":") for pair in attributes)
    height, width, channels = (int(size) for size in input_text.split("x"))
    shape = Shape(channels, height, width)
    sizes = [int(size) for size in output_text.split("x")]
    if name == "expanded_conv":
        expand = int(facts["expand"])
        return inverted_residual(
            shape,
            sizes[2],
            middle=expand * channels if ratio else expand,
            kernel=int(facts["kernel"]),
            stride=int(facts["stride"]),
            residual=facts["idskip"] == "1",
            se=facts.get("se", "0") == "1",
            act="hswish" if facts.get("hs", "0") == "1" else "relu6",
        )
    if name == "Logits":
        return head(shape, sizes[-1]).program
    act = "hswish" if facts.get("hs", "0") == "1" else "relu6"
    if name == "Conv":
        return conv_block(shape, sizes[2], kernel=3, stride=height // sizes[0], act=act).program
    if name.startswith("Conv_"):
        return conv_block(shape, sizes[2], kernel=1, act=act).program
    raise SpaceError(f"{name!r}")


FORMATS = {"proxylessnas": read_proxylessnas, "ofa": read_ofa}
