"""A search space of your own: a new operator, and a space that chooses among variants of it.

nascli profile --space examples/my_space.py:ghosts
nascli search --space examples/my_space.py:ghosts --constraint latency=2ms
"""

from nascli.spaces import FixedBlock, Layer, Space, operator, space_factory
from nascli.spaces.operators import add, concat, conv
from nascli.spaces.operators.basic import conv_block, head, identity


@operator
def ghost(x, out, *, kernel=3, ratio=2, stride=1):
    """Half of the features from a convolution, the rest from an inexpensive depthwise convolution of them."""
    primary = conv(x, out // ratio, kernel, stride=stride, act="relu")
    cheap = conv(primary, out - primary.channels, kernel, groups=primary.channels, act="relu")
    h = concat(primary, cheap)
    return add(x, h) if h.shape == x.shape else h


@space_factory("ghosts")
def ghosts(*, resolution=16, classes=10, channels=1):
    """Six layers of ghost modules with kernels of 3, 5, and 7."""
    blocks = [FixedBlock("stem", conv_block((channels, resolution, resolution), 16, act="relu"))]
    shape = blocks[0].output
    for index, (width, stride) in enumerate([(16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]):
        options = [ghost(shape, width, kernel=k, stride=stride) for k in (3, 5, 7)]
        if options[0].output == shape:
            options.append(identity(shape))
        blocks.append(Layer(f"layer{index}", tuple(options)))
        shape = options[0].output
    return Space("ghosts", (), (*blocks, FixedBlock("head", head(shape, classes))))
