"""Which rows of a table are whole networks of a space."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np

from nascli.errors import ArchitectureError
from nascli.lut import LatencyTable, Store, program_key
from nascli.spaces.space import Space

Choices = tuple[int, ...]
_NETWORK_LABEL = re.compile(r"network \S+ (\[[\d, ]*\]) ")


def recognised_networks(
    space: Space, table: LatencyTable, store: Store, given: Sequence[Choices] = ()
) -> dict[str, Choices]:
    """Return the architectures of a space that a table has whole.

    A store notes which architecture a network is that was measured into it. Packs do not say that; there, labels
    name the architecture, and the program proves it. So do the architectures that are `given`.

    Args:
        space: The space.
        table: A table of the store.
        store: Knows networks that it noted.
        given: Architectures that may be among the networks although neither note nor label says so.

    Returns:
        The choices of each architecture by the key of its program, without those that the table has no latency of.
    """
    members = dict(store.networks(space.digest))
    for row in given:
        members.setdefault(program_key(space.network(row).program), row)
    for key, (label, _, _) in table.labels.items():
        match = _NETWORK_LABEL.match(label)
        if key not in members and match is not None:
            try:
                row = tuple(space.check(np.array([json.loads(match[1])]))[0].tolist())
            except (ArchitectureError, OverflowError):
                continue
            if program_key(space.network(row).program) == key:
                members[key] = row
    return {key: row for key, row in members.items() if key in table.estimates}
