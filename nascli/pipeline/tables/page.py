"""A latency table as a page."""

from __future__ import annotations

import math
from pathlib import Path

from nascli.errors import Remedy, StoreError
from nascli.execution import Execution
from nascli.files import write_atomically
from nascli.lut import LatencyTable, Store
from nascli.lut.in_context.carriers import is_auxiliary
from nascli.pipeline.tables.lookup import stored_setup
from nascli.profiles.target import TargetSpec
from nascli.report.table_page import OperatorPoint, render_table
from nascli.spaces.counts import count
from nascli.spaces.primitives import Conv
from nascli.spaces.programs import Program


def write_table_page(spec: TargetSpec, execution: Execution, out: Path) -> Path:
    """Write the page of one table's operators; returns its path.

    Raises:
        StoreError: nothing was measured there, or the page cannot be written.
    """
    with Store(execution.store) as store:
        setup = stored_setup(spec, store)
        table = LatencyTable.read(store, setup)
        programs = store.operators(setup)
    rows = []
    for key, figure in table.estimates.items():
        label, program = programs[key]
        if program is None or is_auxiliary(label) or label.startswith("network "):
            continue
        counts = count(program)
        activations = counts.moved_bytes - counts.weight_bytes
        rows.append(
            OperatorPoint(
                label,
                figure.seconds,
                figure.relative_width if math.isfinite(figure.high) else math.inf,
                float(counts.macs) * setup.batch,
                float(activations) * setup.batch + counts.weight_bytes,
                _narrowest(program),
            )
        )
    if not rows:
        raise StoreError(
            f"no operators were measured for {setup.label}.",
            "Profile a space or a network first.",
            Remedy(job="profile", arguments={"target": spec, "execution": execution}),
        )
    try:
        write_atomically(out, render_table(setup.label, table.digest, rows).encode())
    except OSError as error:
        raise StoreError(f"cannot write {out}: {error.strerror}") from error
    return out


def _narrowest(program: Program) -> int:
    """The fewest channels that a convolution reads or writes; images are not counted."""
    found = [
        channels
        for node in program.nodes
        if isinstance(node.primitive, Conv)
        for channels in (program.shape_of(node.inputs[0]).channels, node.primitive.out)
        if channels > 3
    ]
    return min(found, default=0)
