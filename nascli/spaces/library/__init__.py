"""The operator families that come with nascli, one file per line of networks."""

from nascli.spaces.library.common import avg_pool, conv_block, head, identity, max_pool
from nascli.spaces.library.mobile import mbconv

__all__ = ["avg_pool", "conv_block", "head", "identity", "max_pool", "mbconv"]
