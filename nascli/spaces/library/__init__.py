"""The operator families that come with nascli, one file per line of networks."""

from nascli.spaces.library.branches import dconv, dwconv, nconv, rconv
from nascli.spaces.library.cells import cell
from nascli.spaces.library.common import avg_pool, conv_block, head, identity, max_pool
from nascli.spaces.library.mobile import mbconv
from nascli.spaces.library.residual import basic_block, bottleneck_block, regnet_block, resnet_stem
from nascli.spaces.library.shuffle import choice, choice_x, shufflenet_block

__all__ = [
    "avg_pool",
    "basic_block",
    "bottleneck_block",
    "cell",
    "choice",
    "choice_x",
    "conv_block",
    "dconv",
    "dwconv",
    "head",
    "identity",
    "max_pool",
    "mbconv",
    "nconv",
    "rconv",
    "regnet_block",
    "resnet_stem",
    "shufflenet_block",
]
