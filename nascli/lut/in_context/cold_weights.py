"""Weights as cold as in a network.

A model that is timed alone finds its weights in the core's own cache, where the run before left them. In a network
whose weights are larger than that cache, the weights of a layer were last used one batch ago and come from further
away: about 0.04 ms per MB on a server's CPU. This matters where a weight is used few times, as in convolutions at
small resolutions and in linear layers at batch 1.

So the carriers and references of such operators are measured as several copies in one model, each with weights of its
own: what runs between two uses of a weight is then larger than the cache, while activations stay where they would be.
"""

from __future__ import annotations

from nascli.spaces.counts import count
from nascli.spaces.programs import Program

# Bytes of all copies together: about what a network of today reads between two uses of a weight, and more than a core
# keeps for long of a cache that it shares with others.
COPIES_BYTES = 32 << 20
# Networks with more bytes of weights than this find them cold: they do not fit in a core's own cache.
COLD_NETWORK_BYTES = 2 << 20
_MAX_COPIES = 24
# Above so many uses of each weight, fetching it takes less than 2 % of the time of using it.
FEW_USES = 256
# Smaller operators have so few weights that fetching them takes about a microsecond.
_MIN_BYTES = 32 << 10


def is_cold(weight_bytes: float) -> bool:
    """Return whether networks with so many bytes of weights find them cold."""
    return weight_bytes > COLD_NETWORK_BYTES


def cold_matters(program: Program, batch: int) -> bool:
    """Return whether an operator costs notably more where its weights are cold.

    Args:
        program: What the operator computes.
        batch: Samples per run.
    """
    counts = count(program)
    return counts.weight_bytes >= _MIN_BYTES and counts.macs * batch <= FEW_USES * counts.weights


def with_cold_weights(program: Program) -> Program:
    """Return a carrier or a reference in so many copies that its weights are cold."""
    weight_bytes = max(1, count(program).weight_bytes)
    return program.repeated(min(_MAX_COPIES, -(-COPIES_BYTES // weight_bytes)))
