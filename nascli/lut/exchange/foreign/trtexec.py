"""trtexec's ``--exportProfile``: a JSON list, first {"count": runs}, then {"name", "averageMs", ...} a layer.

TensorRT names fused layers after the nodes they came from and gives no shapes, so the rows are shown and
compared by name, and answer no lookup of an operator.
"""

from __future__ import annotations

import json

from nascli.errors import StoreError
from nascli.lut.exchange.foreign.rows import ForeignRow, ForeignTable


def read(data: bytes) -> ForeignTable:
    """A profile that trtexec wrote."""
    document = json.loads(data)
    if not isinstance(document, list) or not document or "count" not in document[0]:
        raise StoreError("the file is no list that begins with a count of runs")
    found = ForeignTable()
    for entry in document[1:]:
        seconds = float(entry["averageMs"]) * 1e-3
        if seconds == 0:
            found.left_out["layers that TensorRT reports as free"] += 1
            continue
        found.rows.append(ForeignRow(str(entry["name"]), None, seconds))
    return found
