"""MobileNetV2 (Sandler et al. 2018) as a space of one network, so that nascli measures and trains it like any other.

nascli count examples/solar_cells/mobilenetv2.py:mobilenetv2-scaled:width=0.5,resolution=64
"""

from nascli.spaces import FixedBlock, Layer, Space, space_factory
from nascli.spaces.operators.basic import conv_block, head
from nascli.spaces.operators.inverted_residual import mbconv

# Expansion, channels, layers, and stride of the first layer of each stage (Table 2 of the paper).
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def rounded(channels):
    """Round to a multiple of 8, but not below 90 % (the authors' code)."""
    multiple = max(8, int(channels + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * channels else multiple


@space_factory("mobilenetv2-scaled")
def mobilenetv2_scaled(*, resolution=64, width=1.0, classes=4, channels=1):
    """MobileNetV2 with its channels multiplied by `width`. It has nothing to choose: every layer has one candidate."""
    stem = conv_block((channels, resolution, resolution), rounded(32 * width), stride=2)
    blocks, shape = [FixedBlock("stem", stem)], stem.output
    for number, (expand, out, layers, stride) in enumerate(STAGES, 1):
        for index in range(layers):
            block = mbconv(shape, rounded(out * width), expand=expand, stride=stride if index == 0 else 1)
            blocks.append(Layer(f"stage{number}.{index}", (block,)))
            shape = block.output
    tail = head(shape, classes, features=rounded(1280 * max(1.0, width)))
    return Space("mobilenetv2-scaled", (), (*blocks, FixedBlock("head", tail)))
