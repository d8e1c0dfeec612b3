"""In which order the values of a deployed program are held: channels before positions, or after them.

Layers on the channels of each position (`Dense`, `LayerNorm`) are matrix products on values with their channels last. A
deployed model transposes where such a run of layers begins and ends, as PyTorch's exporter writes ConvNeXt.
"""

from __future__ import annotations

from nascli.spaces.primitives import (
    Act,
    Add,
    Binary,
    ChannelBias,
    ChannelScale,
    Dense,
    Gain,
    LayerNorm,
    PRelu,
    Shift,
)
from nascli.spaces.programs import Program

_ELEMENTWISE = (Act, Add, Binary, ChannelBias, ChannelScale, Gain, PRelu, Shift)


def channels_last(program: Program) -> frozenset[int]:
    """Return the indices of the values that a deployed model holds with their channels last.

    These are the results of layers on the channels of each position, and what is computed element by element from
    nothing else.
    """
    last: set[int] = set()
    for index, node in enumerate(program.nodes, 1):
        is_elementwise = isinstance(node.primitive, _ELEMENTWISE)
        if isinstance(node.primitive, (Dense, LayerNorm)) or (
            is_elementwise and all(value in last for value in node.inputs)
        ):
            last.add(index)
    return frozenset(last)
