"""trtexec's ``--exportProfile``: a JSON list of {"count": runs}, then one {"name", "averageMs", ...} per layer.

TensorRT names fused layers after their nodes and gives no shapes. Such rows can be shown and compared by name, but no
lookup of an operator finds them.
"""

from __future__ import annotations

import json

from nascli.errors import StoreError
from nascli.lut.exchange.foreign.rows import ForeignRow, ForeignTable


def read(data: bytes) -> ForeignTable:
    """Read a profile that trtexec wrote.

    Raises:
        StoreError: The file is not such a list.
    """
    document = json.loads(data)
    if not isinstance(document, list) or not document or "count" not in document[0]:
        raise StoreError("the file is not a list that begins with a count of runs")
    table = ForeignTable()
    for entry in document[1:]:
        seconds = float(entry["averageMs"]) * 1e-3
        if seconds == 0:
            table.left_out["layers that TensorRT reports as free"] += 1
            continue
        table.rows.append(ForeignRow(str(entry["name"]), None, seconds))
    return table


FORMATS = {"trtexec": read}
